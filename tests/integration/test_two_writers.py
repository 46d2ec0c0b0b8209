"""Two writers with the same identity at once: the interleavings are forced, not hoped for (P2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from services.storage.tables import Identity, Table
from services.storage.transactions import store
from services.storage.writing import Paths
from tests.support.batches import Log, begin, connected, outcomes, reading, rows, waiting
from tests.support.databases import Database

SAME = reading(values={"pm2_5_ugm3": 1.0})
FILLS = reading(values={"pm10_ugm3": 2.0})
CONTRADICTS = reading(values={"pm2_5_ugm3": 9.0})
OUTCOME = {"duplicate": SAME, "merged": FILLS, "quarantined": CONTRADICTS}

pytestmark = pytest.mark.parametrize("staged", [False, True], ids=["copy", "staging"])


def paths(*, staged: bool) -> Paths:
    made = Paths()
    made.staging["environmental"] = 5 if staged else 0
    return made


@asynccontextmanager
async def two_writers(database: Database) -> AsyncIterator[tuple[asyncpg.Connection, ...]]:
    async with connected(database) as a, connected(database) as b, connected(database) as watcher:
        yield a, b, watcher


@pytest.mark.parametrize("outcome", OUTCOME)
async def test_b_waits_for_a_and_meets_its_row_when_a_commits(
    database: Database, outcome: str, *, staged: bool
) -> None:
    one, other = Log(0), Log(1)
    async with two_writers(database) as (a, b, watcher):
        await begin(a, one, other)
        async with a.transaction():
            await store(a, one.batch(SAME), paths(staged=staged))
            second = asyncio.create_task(
                store(b, other.batch(OUTCOME[outcome]), paths(staged=staged))
            )
            await waiting(watcher, b)
        await second

        assert await outcomes(watcher, one.source) == {"decoded": 1, "written": 1}
        assert await outcomes(watcher, other.source) == {"decoded": 1, outcome: 1}
        assert len(await rows(watcher)) == 1


async def test_b_waits_for_a_and_inserts_when_a_rolls_back(
    database: Database, *, staged: bool
) -> None:
    one, other = Log(0), Log(1)
    async with two_writers(database) as (a, b, watcher):
        await begin(a, one, other)
        transaction = a.transaction()
        await transaction.start()
        await store(a, one.batch(SAME), paths(staged=staged))
        second = asyncio.create_task(store(b, other.batch(FILLS), paths(staged=staged)))
        await waiting(watcher, b)
        await transaction.rollback()
        await second

        assert await outcomes(watcher) == {"decoded": 1, "written": 1}
        assert [row["kafka_partition"] for row in await rows(watcher)] == [1]


async def test_both_merge_into_one_row_one_after_the_other(
    database: Database, *, staged: bool
) -> None:
    log, one, other = Log(9), Log(0), Log(1)
    fills_other = reading(values={"temperature_c": 20.0})
    async with two_writers(database) as (a, b, watcher):
        await begin(a, log, one, other)
        await store(a, log.batch(SAME), Paths())
        async with a.transaction():
            await store(a, one.batch(FILLS), paths(staged=staged))
            second = asyncio.create_task(store(b, other.batch(fills_other), paths(staged=staged)))
            await waiting(watcher, b)
        await second

        [row] = await rows(watcher)
        revisions = await watcher.fetchval("select count(*) from reading_revisions")
    assert (row["pm2_5_ugm3"], row["pm10_ugm3"], row["temperature_c"]) == (1.0, 2.0, 20.0)
    assert revisions == 2


async def test_an_identity_that_is_in_neither_is_looked_for_again(
    database: Database, monkeypatch: pytest.MonkeyPatch, *, staged: bool
) -> None:
    """The row that kept B from inserting is gone when B looks for it: B inserts after all."""
    log, other = Log(0), Log(1)
    async with two_writers(database) as (a, b, watcher):
        await begin(a, log, other)
        await store(a, log.batch(SAME), Paths())
        insert_staged, deleted = Table.insert_staged, asyncio.Event()

        async def row_goes_after_the_insert(table: Table) -> set[Identity]:
            inserted = await insert_staged(table)
            if not deleted.is_set():
                deleted.set()
                await a.execute("delete from environmental_readings")
            return inserted

        monkeypatch.setattr(Table, "insert_staged", row_goes_after_the_insert)
        await store(b, other.batch(FILLS), paths(staged=staged))

        assert await outcomes(watcher, other.source) == {"decoded": 1, "written": 1}
        assert [row["kafka_partition"] for row in await rows(watcher)] == [1]


async def test_writers_of_the_same_identities_in_opposite_order_both_finish(
    database: Database, *, staged: bool
) -> None:
    one, other = Log(0), Log(1)
    said = [reading(minute=minute, values={"pm1_ugm3": 1.0}) for minute in range(300)]
    async with two_writers(database) as (a, b, watcher):
        await begin(a, one, other)
        await asyncio.gather(
            store(a, one.batch(*said), paths(staged=staged)),
            store(b, other.batch(*reversed(said)), paths(staged=staged)),
        )

        counts = await outcomes(watcher)
    assert (counts["decoded"], counts["written"], counts["duplicate"]) == (600, 300, 300)
