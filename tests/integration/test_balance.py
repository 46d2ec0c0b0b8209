"""The ledger balances after anything, and fails, naming the equation, when it should (P3)."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from services.storage import balance, books, offsets, quarantine
from services.storage.balance import Balance, read_balance
from services.storage.batches import QUARANTINE, Batch
from services.storage.quarantine import Closing
from services.storage.transactions import store, store_readings
from services.storage.writing import Paths, Work
from tests.support.batches import (
    START,
    TOPIC,
    UNDECODABLE,
    Log,
    begin,
    connected,
    reading,
    refused,
)
from tests.support.databases import Database, PostgreSQLServer

EQUATIONS = ["offsets", "readings", "quarantine", "recount_rows", "recount_quarantine"]
OLDEST = "select item_id from quarantine_items where reason = $1 order by item_id limit 1"


async def live(connection: asyncpg.Connection) -> None:
    """A short life with every outcome in it: also a loss, a correction, and items closed."""
    logs = [Log(0), Log(1)]
    await begin(connection, *logs)
    for log in logs:
        one = reading(f"station-{log.partition}", values={"pm2_5_ugm3": 1.0})
        fills = reading(f"station-{log.partition}", values={"pm10_ugm3": 1.0})
        contradicts = reading(f"station-{log.partition}", values={"pm10_ugm3": 9.0})
        later = [reading(minute=24 * 60 * day, kind="traffic") for day in range(log.partition, 3)]
        batch = log.batch(one, fills, one, contradicts, refused(), UNDECODABLE, *later)
        await store(connection, batch, Paths())
    standing = (await offsets.positions(connection, TOPIC))[0]
    await offsets.book_lost(connection, standing, standing.next_offset + 4)
    gap = (await offsets.gaps(connection))[0]["gap_id"]
    await offsets.acknowledge_gap(connection, gap, "anna", "the disk was full")
    await correct(connection)


async def correct(connection: asyncpg.Connection) -> None:
    """Accept a conflict, as source quarantine, and discard what could not be decoded."""
    [copy] = Log().copies([reading("station-0", values={"pm10_ugm3": 9.0})])
    copy.arrival = replace(copy.arrival, source=QUARANTINE)
    batch = Batch(copies={"environmental": [copy]})
    batch.tally.decoded(copy.arrival, "environmental")
    async with connection.transaction():
        await store_readings(connection, batch, Work(50, Paths(), replace=True))
        for reason, state in (("conflict", "replayed"), ("malformed", "discarded")):
            item = await connection.fetchval(OLDEST, reason)
            await quarantine.close(connection, [item], Closing(state, "anna"), batch.tally)
        await books.keep(connection, batch, 50)


@pytest.fixture(scope="module")
def lived(postgresql: PostgreSQLServer) -> Iterator[Database]:
    """A database with a life in it; whoever breaks it undoes that again."""
    database = postgresql.create_database()
    asyncio.run(_live(database))
    yield database
    postgresql.drop_database(database)


async def _live(database: Database) -> None:
    async with connected(database) as connection:
        await live(connection)


async def broken(database: Database, statement: str) -> Balance:
    """The balance after a statement, which is undone again."""
    async with connected(database) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(statement)
        found = await balance._read(connection, None)
        await transaction.rollback()
        return found


def failing(found: Balance) -> list[str]:
    return [equation.name for equation in found.equations if not equation.holds]


async def test_an_empty_ledger_balances(database: Database) -> None:
    async with connected(database) as connection:
        found = await read_balance(connection)

    assert found.balanced
    assert [equation.name for equation in found.equations] == EQUATIONS


async def test_its_json_is_exactly_the_contract(lived: Database) -> None:
    async with connected(lived) as connection:
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


async def test_in_flight_is_null_where_kafka_could_not_be_asked(lived: Database) -> None:
    async with connected(lived) as connection:
        assert (await read_balance(connection)).as_json(in_flight=None)["in_flight"] is None


COUNTED = """
    insert into ledger_readings values
        ('telemetry.raw/0/0', now(), 'traffic', 'decoded', '', 1),
        ('telemetry.raw/0/0', now(), 'traffic', 'quarantined', 'schema', 1);
"""
BREAKS = {
    "a row deleted": (
        "recount_rows",
        "delete from traffic_readings where time < '2024-01-23'",
    ),
    "a row added by hand": (
        "recount_rows",
        """
        insert into traffic_readings (device_id, part, time, received_at, time_source,
                                      kafka_partition, kafka_offset, batch_id)
        values ('x', '', now(), now(), '', 0, 0, 0)
        """,
    ),
    "an offset skipped": (
        "offsets",
        "update consumed_offsets set next_offset = next_offset + 1 where partition = 1",
    ),
    "a partition forgotten": (
        "offsets",
        "delete from consumed_offsets where partition = 1",
    ),
    "a gap resized": (
        "offsets",
        "update offset_gaps set next_offset = next_offset - 1",
    ),
    "an item dropped": (
        "recount_quarantine",
        "delete from quarantine_items where item_id = 1",
    ),
    "an item closed by hand": (
        "recount_quarantine",
        """
        update quarantine_items set state = 'discarded'
        where item_id = (select min(item_id) from quarantine_items where state = 'open')
        """,
    ),
    "a refusal counted and never stored": ("quarantine", COUNTED),
    "a refusal counted as made and never stored": (
        "recount_quarantine",
        COUNTED + "update ledger_quarantine set n = n + 1 "  # noqa: S608 # no input
        "where source = 'telemetry.raw/0/0' and state in ('made', 'open')",
    ),
    "two partitions that make up for each other": (
        "offsets",
        """
        update consumed_offsets
        set next_offset = next_offset + case partition when 0 then 1 else -1 end
        """,
    ),
    "two days that make up for each other": (
        "recount_rows",
        """
        update stored_rows set n = n + case day when '2024-01-22' then 1 else -1 end
        where kind = 'traffic' and source = 'telemetry.raw/0/0' and day <= '2024-01-23'
        """,
    ),
    "rows removed and not booked": (
        "recount_rows",
        "delete from traffic_readings; delete from stored_rows where kind = 'traffic'",
    ),
    "a removal booked of which nothing happened": (
        "recount_rows",
        "insert into removed_rows values ('traffic', '2024-01-22', 'erased', 1)",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
async def test_it_fails_when_it_should_and_names_the_equation(lived: Database, what: str) -> None:
    equation, statement = BREAKS[what]
    found = await broken(lived, statement)

    assert failing(found) == [equation]
    assert not found.balanced


MESSAGES = {"decoded": ["offsets"], "undecodable": ["offsets", "quarantine"],
            "liveness": ["offsets"]}  # fmt: skip
READINGS = {
    "decoded": ["readings"],
    "written": ["readings", "recount_rows"],
    "merged": ["readings"],
    "duplicate": ["readings"],
    "corrected": ["readings"],
    "quarantined": ["readings", "quarantine"],
    "withdrawn": ["recount_rows"],
}
STATES = {
    "made": ["quarantine"],
    **{
        state: ["quarantine", "recount_quarantine"]
        for state in ("open", "replayed", "discarded", "expired")
    },
}
COUNTERS = [
    *[("ledger_messages", "outcome", name, names) for name, names in MESSAGES.items()],
    *[("ledger_readings", "outcome", name, names) for name, names in READINGS.items()],
    *[("ledger_quarantine", "state", name, names) for name, names in STATES.items()],
    ("stored_rows", "kind", "traffic", ["recount_rows"]),
    ("stored_rows", "kind", "broadband", ["recount_rows"]),
]
NEW_COUNTER = {
    "ledger_messages": "('telemetry.raw/0/1', now(), '{}', '', 0)",
    "ledger_readings": "('telemetry.raw/0/1', now(), 'traffic', '{}', '', 0)",
    "ledger_quarantine": "('telemetry.raw/0/1', '{}', 0)",
    "stored_rows": "('telemetry.raw/0/1', '{}', '2024-01-22', 0)",
}


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize(("table", "column", "name", "equations"), COUNTERS, ids=str)
async def test_each_counter_is_held_against_something(
    lived: Database, table: str, column: str, name: str, equations: list[str], *, by: int
) -> None:
    found = await broken(
        lived,
        f"""
        insert into {table} values {NEW_COUNTER[table].format(name)} on conflict do nothing;
        update {table} set n = n + {by}
        where ctid = (select min(ctid) from {table} where {column} = '{name}')
        """,  # noqa: S608 # of the tables above
    )

    assert failing(found) == equations


async def test_what_fails_is_told_with_its_place_and_numbers(lived: Database) -> None:
    skip = "update consumed_offsets set next_offset = 30 where partition = 1;"
    found = await broken(lived, f"{skip} {BREAKS['a row deleted'][1]}")

    by_name = {equation.name: equation.failing for equation in found.equations}
    assert by_name["offsets"] == [{"source": "telemetry.raw/0/1", "left": 30, "right": 8}]
    assert by_name["recount_rows"] == [
        {"kind": "traffic", "day": "2024-01-22", "left": 0, "right": 1}
    ]


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
        acknowledged = await offsets.acknowledge_gap(connection, gap, "anna", "known")
        after = await read_balance(connection)
        again = await offsets.acknowledge_gap(connection, gap, "anna", "again")

    assert (failing(before), before.balanced, after.balanced) == ([], False, True)
    assert (acknowledged, again) == (True, False)
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


async def test_the_read_role_may_balance(lived: Database) -> None:
    async with connected(lived) as connection:
        await connection.execute("set session authorization citytally_read")
        assert (await read_balance(connection)).balanced
