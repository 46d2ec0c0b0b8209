"""Quarantine: bytes once, a message once, an item for each refusal, whatever they hold (P4)."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest

from schemas.messages import Refusal
from schemas.reasons import Reason
from services.storage import quarantine
from services.storage.balance import read_balance
from services.storage.batches import Tally
from services.storage.quarantine import Closing
from services.storage.queries import query
from services.storage.transactions import store
from services.storage.writing import Paths
from tests.support.batches import UNDECODABLE, Log, begin, connected, reading
from tests.support.databases import Database

UNSTORABLE = "a\0b\ud800" + "é" * 5000


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database) as connection:
        yield connection


async def test_the_same_payload_twice_shares_its_bytes(connection: asyncpg.Connection) -> None:
    log = Log()
    await begin(connection, log)
    messages = [(log.arrival(payload), UNDECODABLE) for payload in (b"x", b"x", b"y")]
    await store(connection, log.batch_of(messages, 0), Paths())

    assert await connection.fetchval("select count(*) from quarantine_messages") == 3
    payloads = await connection.fetch("select payload from quarantine_payloads order by payload")
    assert [row["payload"] for row in payloads] == [b"x", b"y"]


async def test_several_refusals_of_one_message_are_items_of_one_message(
    connection: asyncpg.Connection,
) -> None:
    log = Log()
    await begin(connection, log)
    arrival = log.arrival()
    refusals = [
        replace(reading(minute=n), position=n, refusal=Refusal(Reason.SCHEMA, "bad", f"[{n}]"))
        for n in range(3)
    ]
    await store(connection, log.batch_of([(arrival, one) for one in refusals], 0), Paths())

    items = await connection.fetch("select position, path from quarantine_items order by position")
    assert [tuple(row) for row in items] == [(0, "[0]"), (1, "[1]"), (2, "[2]")]
    assert await connection.fetchval("select count(*) from quarantine_messages") == 1


async def test_texts_that_postgresql_refuses_are_stored_all_the_same(
    connection: asyncpg.Connection,
) -> None:
    log = Log()
    await begin(connection, log)
    strange, other = (
        replace(log.arrival(b"\0\xff"), mqtt_topic=UNSTORABLE, oversize=UNSTORABLE, refused="\0")
        for _ in range(2)
    )
    whole = Refusal(Reason.MALFORMED, UNSTORABLE, UNSTORABLE, 7)
    one = reading(UNSTORABLE, part=UNSTORABLE, refusal=Refusal(Reason.SCHEMA, "x", UNSTORABLE))
    await store(connection, log.batch_of([(strange, whole), (other, one)], 0), Paths())

    items = await connection.fetch("select * from quarantine_items order by item_id")
    assert [row["reason"] for row in items] == ["malformed", "schema"]
    assert all("␀" in row["path"] for row in items)
    assert (await read_balance(connection)).balanced


async def test_a_long_name_of_a_device_fits_the_index(connection: asyncpg.Connection) -> None:
    log = Log()
    await begin(connection, log)
    name = secrets.token_hex(5000)
    stranger = reading(name, refusal=Refusal(Reason.UNKNOWN_DEVICE, "not registered"))
    await store(connection, log.batch(stranger), Paths())

    kept = await connection.fetchval("select device_id from quarantine_items")
    assert name.startswith(kept.removesuffix("…"))


@pytest.mark.parametrize("year", [2, 9999])
async def test_any_time_is_stored_in_an_item(connection: asyncpg.Connection, year: int) -> None:
    log = Log()
    await begin(connection, log)
    one = reading(refusal=Refusal(Reason.TOO_OLD, "far away"))
    one.time = datetime(year, 1, 1, tzinfo=UTC)
    await store(connection, log.batch(one), Paths())

    kept = await connection.fetchval("select extract(year from time)::int from quarantine_items")
    assert kept == year


@pytest.mark.parametrize("state", ["replayed", "discarded"])
async def test_an_item_closes_once(connection: asyncpg.Connection, state: str) -> None:
    log = Log()
    await begin(connection, log)
    await store(connection, log.batch(UNDECODABLE, UNDECODABLE), Paths())
    items = [row["item_id"] for row in await connection.fetch("select * from quarantine_items")]
    closing, tally = Closing(state, "anna", "a note", mended=b"{}"), Tally()

    assert await quarantine.close(connection, items[:1], closing, tally) == 1
    assert await quarantine.close(connection, items, closing, tally) == 1
    assert tally.quarantine == {(log.source, "open"): -2, (log.source, state): 2}
    item = await connection.fetchrow(query("quarantine.item"), items[0])
    assert item is not None
    assert (item["state"], item["note"], item["mended_payload"]) == (state, "a note", b"{}")
