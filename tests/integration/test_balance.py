"""The ledger balances after anything, at any moment, and says so in the agreed form (P3)."""

from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from services.storage import balance, offsets
from services.storage.balance import read_balance
from services.storage.transactions import store
from services.storage.writing import Paths
from tests.support.batches import (
    START,
    TOPIC,
    UNDECODABLE,
    Log,
    begin,
    connected,
    reading,
)
from tests.support.databases import Database
from tests.support.life import failing, live

EQUATIONS = ["offsets", "readings", "quarantine", "recount_rows", "recount_quarantine"]


async def test_an_empty_ledger_balances(database: Database) -> None:
    async with connected(database) as connection:
        found = await read_balance(connection)

    assert found.balanced
    assert [equation.name for equation in found.equations] == EQUATIONS


async def test_its_json_is_exactly_the_contract(database: Database) -> None:
    async with connected(database) as connection:
        await live(connection)
        found = (await read_balance(connection)).as_json(in_flight=3)

    [gap] = found.pop("gaps")
    assert found == {
        "balanced": True,
        "messages": {
            "received": 21, "decoded": 15, "undecodable": 2, "liveness": 0, "lost": 4,
        },
        "readings": {
            "decoded": 16, "written": 5, "merged": 2, "duplicate": 4, "corrected": 1,
            "quarantined": 4,
        },
        "quarantine": {
            "open": 4, "replayed": 1, "discarded": 1, "expired": 0,
            "by_reason": {"conflict": 1, "malformed": 1, "unknown_device": 2},
        },
        "recount": {"rows": 5, "dropped_by_retention": 0, "erased": 0},
        "in_flight": 3,
        "equations": [
            {"name": name, "left": n, "right": n, "holds": True, "failing": []}
            for name, n in zip(EQUATIONS, (21, 16, 6, 5, 6), strict=True)
        ],
    }  # fmt: skip
    assert gap.pop("noticed_at").endswith("Z")
    assert gap.pop("acknowledged_at").endswith("Z")
    assert gap == {
        "gap_id": 1, "topic": TOPIC, "generation": 0, "partition": 0, "first_offset": 9,
        "next_offset": 13, "cause": "expired_unread", "acknowledged_by": "anna",
        "note": "the disk was full",
    }  # fmt: skip


async def test_in_flight_is_null_where_kafka_could_not_be_asked(database: Database) -> None:
    async with connected(database) as connection:
        await live(connection)
        assert (await read_balance(connection)).as_json(in_flight=None)["in_flight"] is None


async def test_since_bounds_the_recount_to_later_days(database: Database) -> None:
    async with connected(database) as connection:
        await live(connection)
        await connection.execute("delete from traffic_readings where time = $1", START)

        assert failing(await read_balance(connection)) == ["recount_rows"]
        bounded = await read_balance(connection, START.date() + timedelta(days=1))
    assert bounded.balanced
    assert bounded.recount["rows"] == 2


@pytest.mark.parametrize("cause", ["expired_unread", "log_replaced"])
async def test_a_gap_that_nobody_looked_at_keeps_it_unbalanced(
    database: Database, cause: str
) -> None:
    log = Log()
    async with connected(database) as connection:
        await begin(connection, log)
        standing = (await offsets.positions(connection, TOPIC))[0]
        if cause == "log_replaced":
            gap = await offsets.book_replaced(connection, standing, uuid4())
        else:
            gap = await offsets.book_lost(connection, standing, 40)
        before = await read_balance(connection)
        acknowledged = await offsets.acknowledge_gaps(connection, [gap], "anna", "known")
        after = await read_balance(connection)
        again = await offsets.acknowledge_gaps(connection, [gap], "anna", "again")

    assert (failing(before), before.balanced, after.balanced) == ([], False, True)
    assert ([row["gap_id"] for row in acknowledged], again) == ([gap], [])
    assert [gap["cause"] for gap in before.unacknowledged] == [cause]


async def test_it_is_read_in_one_snapshot(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that commits while the balance is read is in all of it or in none."""
    log = Log()
    async with connected(database) as reader, connected(database) as writer:
        await begin(writer, log)
        fetch = balance._fetch

        async def fetch_after_a_batch(
            connection: asyncpg.Connection, name: str, *arguments: object, **identifiers: str
        ) -> list[asyncpg.Record]:
            found = await fetch(connection, name, *arguments, **identifiers)
            await store(writer, log.batch(reading(minute=log.next_offset), UNDECODABLE), Paths())
            return found

        monkeypatch.setattr(balance, "_fetch", fetch_after_a_batch)
        found = await read_balance(reader)

    assert log.next_offset > len(EQUATIONS)
    assert failing(found) == []


async def test_the_read_role_may_balance(database: Database) -> None:
    async with connected(database) as connection:
        await live(connection)
        await connection.execute("set session authorization citytally_read")
        assert (await read_balance(connection)).balanced
