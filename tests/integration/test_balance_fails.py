"""The ledger fails when it should, and names the equation (P3)."""

import asyncio
from collections.abc import Iterator

import pytest

from services.storage import balance
from services.storage.balance import Balance
from tests.support.batches import connected
from tests.support.databases import Database, PostgreSQLServer
from tests.support.life import failing, live


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
