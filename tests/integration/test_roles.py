"""Each role may do its own work and nothing else."""

import secrets
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from schemas.registry import Device
from services.storage import offsets, quarantine
from services.storage.batches import Batch, Tally
from services.storage.migrate import set_passwords
from services.storage.quarantine import Closing
from services.storage.registry import register
from services.storage.transactions import store
from services.storage.writing import Paths
from tests.support.batches import TOPIC, UNDECODABLE, Log, begin, connected, reading, refused
from tests.support.databases import Database, PostgreSQLServer

ROLES = ("citytally_ingest", "citytally_derive", "citytally_read", "citytally_operate")
TABLES = ("environmental_readings", "consumed_offsets", "ledger_readings", "stored_rows",
          "quarantine_items", "quarantine_payloads", "devices", "reading_revisions",
          "offset_gaps", "batches", "removed_rows")  # fmt: skip
CHANGE = {
    "delete": "delete from {}",
    "truncate": "truncate {}",
    "drop": "drop table {}",
}
DEVICE = (
    "insert into devices select 'x', now(), now(), 'generic', null, null, null, 'indicative', "
    "'real', now()"
)
FORBIDDEN = [
    *[(role, CHANGE[act].format(table)) for role in ROLES for table in TABLES for act in CHANGE],
    *[(role, "delete from changed_hours") for role in ROLES if role != "citytally_derive"],
    *[(role, DEVICE) for role in ROLES if role != "citytally_operate"],
    *[(role, "update devices set origin = 'real'") for role in ROLES],
    *[(role, "update reading_revisions set kind = ''") for role in ROLES],
    *[(role, "update quarantine_payloads set payload = ''") for role in ROLES],
    *[(role, "update batches set qos0 = 0") for role in ROLES],
    *[(role, "update derive_slots set slots = 1") for role in ROLES],
    *[(role, "insert into migrations values ('x', '')") for role in ROLES],
    *[(role, "create table public.mine ()") for role in ROLES],
    *[(role, "select drop_chunks('environmental_readings', now())") for role in ROLES],
    *[(role, "set role postgres") for role in ROLES],
    ("citytally_operate", "update consumed_offsets set next_offset = 0"),
    ("citytally_operate", "update offset_gaps set first_offset = 0"),
    ("citytally_ingest", "update offset_gaps set acknowledged_at = now()"),
    *[
        (role, f"update {table} set {column} = {column}")  # noqa: S608 # of these tables
        for role in ("citytally_read", "citytally_derive")
        for table, column in (("environmental_readings", "part"), ("stored_rows", "n"))
    ],
]


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database) as connection:
        yield connection


async def test_every_forbidden_act_is_refused(connection: asyncpg.Connection) -> None:
    log = Log()
    await begin(connection, log)
    await store(connection, log.batch(reading(), UNDECODABLE), Paths())
    allowed = []
    for role, statement in FORBIDDEN:
        await connection.execute(f"set session authorization {role}")
        try:
            await connection.execute(statement)
            allowed.append((role, statement))
        except asyncpg.InsufficientPrivilegeError:
            pass
        await connection.execute("reset session authorization")

    assert allowed == []


async def test_a_chunk_is_guarded_like_its_table(connection: asyncpg.Connection) -> None:
    log = Log()
    await begin(connection, log)
    await store(connection, log.batch(reading()), Paths())
    chunk = await connection.fetchval("select show_chunks('environmental_readings')::text")
    for role in ROLES:
        await connection.execute(f"set session authorization {role}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"delete from {chunk}")  # noqa: S608 # PostgreSQL's own name
        await connection.execute("reset session authorization")


async def test_ingest_may_do_all_that_storing_takes(connection: asyncpg.Connection) -> None:
    log = Log()
    await begin(connection, log)
    await connection.execute("set session authorization citytally_ingest")
    paths = Paths()
    await store(connection, log.batch(reading(), refused(), UNDECODABLE), paths)
    merging = reading(values={"pm1_ugm3": 1.0})
    await store(connection, log.batch(merging, reading(minute=60 * 24 * 30)), paths)

    standing = (await offsets.positions(connection, TOPIC))[0]
    await offsets.book_lost(connection, standing, standing.next_offset + 5)
    await offsets.begin(connection, TOPIC, [7], uuid4())
    assert await connection.fetchval("select count(*) from environmental_readings") == 2


async def test_operate_may_register_close_and_acknowledge(
    connection: asyncpg.Connection,
) -> None:
    log = Log()
    await begin(connection, log)
    await store(connection, log.batch(UNDECODABLE), Paths())
    gap = await offsets.book_lost(connection, (await offsets.positions(connection, TOPIC))[0], 9)
    await connection.execute("set session authorization citytally_operate")

    added = await register(connection, devices=[Device("station-1")])
    closing = Closing("discarded", "anna", "a test")
    assert added.new_devices == 1
    assert await quarantine.close(connection, [1], closing, Tally()) == 1
    assert await offsets.acknowledge_gaps(connection, [gap], "anna", "known")
    async with connection.transaction():
        await store(connection, _without_log(log), Paths())


async def test_derive_takes_changed_hours_and_everybody_reads(
    connection: asyncpg.Connection,
) -> None:
    for role in ROLES:
        await connection.execute(f"set session authorization {role}")
        assert await connection.fetch("select * from environmental_readings") == []
        await connection.execute("reset session authorization")
    await connection.execute("set session authorization citytally_derive")
    await connection.execute("delete from changed_hours")


def _without_log(log: Log) -> Batch:
    batch = log.batch(reading())
    batch.spans.clear()
    return batch


async def test_passwords_log_in_and_stand_in_no_log(
    postgresql: PostgreSQLServer, database: Database
) -> None:
    passwords = {role: secrets.token_urlsafe(24) for role in ROLES}
    postgresql.run_sql("alter system set log_statement = 'all'")
    postgresql.run_sql("alter system set log_min_error_statement = 'info'")
    postgresql.run_sql("select pg_reload_conf()")
    try:
        async with connected(database) as connection:
            await connection.execute("select 1")
            await set_passwords(connection, passwords)
        for role, password in passwords.items():
            async with connected(database, role, password) as connection:
                assert await connection.fetchval("select current_user") == role
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(database.dsn_of(role, "wrong"))
    finally:
        postgresql.run_sql("alter system reset all")
        postgresql.run_sql("select pg_reload_conf()")
    written = postgresql.log.read_text(errors="replace")
    assert "alter role" in written
    assert not any(password in written for password in passwords.values())
