"""Migrations on a real TimescaleDB: once each, in order, and every channel a column."""

import asyncio

import asyncpg
import pytest

from schemas.channels import CHANNELS, TEXT_COLUMNS
from services.storage import migrate as migrating
from services.storage.migrate import MigrationError, migrate, migrations
from tests.support.databases import Database


async def test_they_run_once_and_in_order(empty_database: Database) -> None:
    connection = await asyncpg.connect(empty_database.dsn)
    names = [migration.name for migration in migrations()]

    assert await migrate(connection) == names
    assert await migrate(connection) == []
    await connection.close()


async def test_two_runners_at_once_take_turns(empty_database: Database) -> None:
    connections = [await asyncpg.connect(empty_database.dsn) for _ in range(2)]

    done = await asyncio.gather(*[migrate(connection) for connection in connections])

    assert sorted(map(len, done)) == [0, len(migrations())]
    for connection in connections:
        await connection.close()


async def test_a_file_that_was_changed_after_it_ran_stops_everything(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(database.dsn)
    first, *rest = migrations()
    changed = [migrating.Migration(first.name, first.text + "-- changed"), *rest]
    monkeypatch.setattr(migrating, "migrations", lambda: changed)

    with pytest.raises(MigrationError, match=first.name):
        await migrate(connection)
    await connection.close()


async def test_a_database_newer_than_the_code_is_refused(database: Database) -> None:
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("insert into migrations (name, checksum) values ('9999_later', '')")

    with pytest.raises(MigrationError, match="newer"):
        await migrate(connection)
    await connection.close()


@pytest.mark.parametrize("kind", sorted(CHANNELS))
async def test_every_channel_is_a_column_and_every_column_declared(
    database: Database, kind: str
) -> None:
    connection = await asyncpg.connect(database.dsn)
    rows = await connection.fetch(
        "select column_name, data_type from information_schema.columns where table_name = $1",
        f"{kind}_readings",
    )
    await connection.close()
    types = {row["column_name"]: row["data_type"] for row in rows}

    assert {types.pop(name) for name in CHANNELS[kind]} == {"double precision"}
    assert {types.pop(name) for name in TEXT_COLUMNS[kind]} <= {"text"}
    assert set(types) == {
        "device_id", "part", "time", "interval_s", "received_at", "stored_at", "time_source",
        "kafka_partition", "kafka_offset", "batch_id", "quality_flags", "extra", "latitude",
        "longitude",
    }  # fmt: skip
