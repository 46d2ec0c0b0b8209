"""Offsets move only in the transaction that stores what they cover, and only once (P1, P2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from services.storage import offsets
from services.storage.batches import Batch
from services.storage.failures import is_unavailable
from services.storage.offsets import FencedError
from services.storage.transactions import store
from services.storage.writing import Paths
from tests.support.batches import (
    TOPIC,
    UNDECODABLE,
    Log,
    begin,
    books,
    connected,
    outcomes,
    position,
    reading,
    refused,
    rows,
    waiting,
)
from tests.support.databases import Database


@asynccontextmanager
async def three(database: Database) -> AsyncIterator[tuple[asyncpg.Connection, ...]]:
    async with connected(database) as a, connected(database) as b, connected(database) as watcher:
        yield a, b, watcher


def batches_of_one_span() -> tuple[Batch, Batch]:
    """What two processes make of the same records."""
    first, second = (
        Log().batch(reading(values={"pm1_ugm3": 1.0}), refused(), UNDECODABLE) for _ in range(2)
    )
    return first, second


async def test_a_second_commit_of_the_same_span_is_fenced_and_leaves_nothing(
    database: Database,
) -> None:
    first, second = batches_of_one_span()
    async with connected(database) as connection:
        await begin(connection, Log())
        await store(connection, first, Paths())
        before = await books(connection)
        with pytest.raises(FencedError):
            await store(connection, second, Paths())

        assert await books(connection) == before
        assert await position(connection) == 3


async def test_of_two_writers_that_race_with_one_span_exactly_one_stores_it(
    database: Database,
) -> None:
    async with connected(database) as a, connected(database) as b:
        await begin(a, Log())
        done = await asyncio.gather(
            *[
                store(connection, batch, Paths())
                for connection, batch in zip((a, b), batches_of_one_span(), strict=True)
            ],
            return_exceptions=True,
        )

        assert sorted(type(result).__name__ for result in done) == ["FencedError", "NoneType"]
        assert await outcomes(a) == {"decoded": 2, "written": 1, "quarantined": 1}
        assert await position(a) == 3


async def test_who_waits_at_the_fence_is_fenced_when_the_other_commits(
    database: Database,
) -> None:
    first, second = batches_of_one_span()
    async with three(database) as (a, b, watcher):
        await begin(a, Log())
        async with a.transaction():
            await store(a, first, Paths())
            late = asyncio.create_task(store(b, second, Paths()))
            await waiting(watcher, b)
        with pytest.raises(FencedError):
            await late
        assert await position(a) == 3


async def test_who_waits_at_the_fence_stores_when_the_other_rolls_back(
    database: Database,
) -> None:
    first, second = batches_of_one_span()
    async with three(database) as (a, b, watcher):
        await begin(a, Log())
        transaction = a.transaction()
        await transaction.start()
        await store(a, first, Paths())
        late = asyncio.create_task(store(b, second, Paths()))
        await waiting(watcher, b)
        await transaction.rollback()
        await late

        assert (await outcomes(b))["written"] == 1
        assert await position(b) == 3


async def test_one_partition_that_moved_on_keeps_the_whole_batch_out(database: Database) -> None:
    one, other = Log(0), Log(1)
    both = one.batch(reading())
    both.spans += other.batch(reading(minute=1)).spans
    async with connected(database) as connection:
        await begin(connection, Log(0), Log(1))
        await connection.execute("update consumed_offsets set next_offset = 7 where partition = 1")
        with pytest.raises(FencedError):
            await store(connection, both, Paths())

        assert (await position(connection, 0), await position(connection, 1)) == (0, 7)
        assert await rows(connection) == []


async def test_a_batch_of_a_log_that_was_replaced_meanwhile_is_fenced(database: Database) -> None:
    batch = Log().batch(reading())
    async with connected(database) as connection:
        await begin(connection, Log())
        standing = (await offsets.positions(connection, TOPIC))[0]
        await offsets.book_replaced(connection, standing, uuid4())
        with pytest.raises(FencedError):
            await store(connection, batch, Paths())

        assert await rows(connection) == []
        assert (await offsets.positions(connection, TOPIC))[0].generation == 1


async def test_two_processes_that_find_the_same_gap_book_it_once(database: Database) -> None:
    async with connected(database) as a, connected(database) as b:
        await begin(a, Log())
        standing = (await offsets.positions(a, TOPIC))[0]
        done = await asyncio.gather(
            *[offsets.book_lost(connection, standing, 40) for connection in (a, b)],
            return_exceptions=True,
        )

        assert sorted(type(result).__name__ for result in done) == ["FencedError", "int"]
        [gap] = await offsets.gaps(a)
        assert (gap["first_offset"], gap["next_offset"]) == (0, 40)


CONTENTS = (reading(values={"pm1_ugm3": 1.0}), reading(), refused(), UNDECODABLE)


async def test_a_batch_that_failed_midway_and_is_tried_again_counts_once(
    database: Database,
) -> None:
    batch = Log().batch(*CONTENTS)
    async with connected(database) as connection:
        await begin(connection, Log())
        await store(connection, Log().batch(*CONTENTS), Paths())
        expected = await books(connection)
    async with connected(database) as connection:
        await forget(connection)
        await fail_when_hours_are_booked(connection)
        with pytest.raises(asyncpg.QueryCanceledError) as failed:
            await store(connection, batch, Paths())
        assert is_unavailable(failed.value)
        await connection.execute("drop trigger failing on changed_hours")
        await store(connection, batch, Paths())

        assert await books(connection) == expected


async def test_a_batch_whose_connection_was_cut_midway_and_is_tried_again_counts_once(
    database: Database,
) -> None:
    batch = Log().batch(*CONTENTS)
    async with three(database) as (blocker, cut, watcher):
        await begin(blocker, Log())
        async with blocker.transaction():
            await blocker.execute("lock table batches in access exclusive mode")
            storing = asyncio.create_task(store(cut, batch, Paths()))
            await waiting(watcher, cut)
            await blocker.execute("select pg_terminate_backend($1)", cut.get_server_pid())
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as failed:
                await storing
        assert is_unavailable(failed.value)
        await store(blocker, batch, Paths())

        assert await outcomes(blocker) == {"decoded": 3, "written": 1, "duplicate": 1,
                                           "quarantined": 1}  # fmt: skip
        assert await position(blocker) == 4


async def forget(connection: asyncpg.Connection) -> None:
    """Undo what was stored; the partition stands at 0 again."""
    for table in (
        "environmental_readings", "consumed_offsets", "ledger_messages", "ledger_readings",
        "stored_rows", "ledger_quarantine", "quarantine_items", "quarantine_messages",
        "changed_hours", "batches",
    ):  # fmt: skip
        await connection.execute(f"delete from {table}")  # noqa: S608 # ours
    await begin(connection, Log())


async def fail_when_hours_are_booked(connection: asyncpg.Connection) -> None:
    await connection.execute(
        """
        create or replace function fail() returns trigger language plpgsql as $$
        begin
            raise exception 'a test' using errcode = '57014';
        end $$;
        create trigger failing before insert on changed_hours
        for each statement execute function fail();
        """
    )
