"""Three names of a database error, each by really raising it (P4, P5)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

import asyncpg
import pytest

from services.storage.failures import UnavailableError, is_rejection, is_unavailable
from services.storage.tables import Table
from services.storage.transactions import store
from services.storage.writing import Paths
from tests.support.batches import Log, begin, connected, reading, waiting
from tests.support.databases import Database, PostgreSQLServer

Act = Callable[[asyncpg.Connection, asyncpg.Connection], Awaitable[object]]


def runs(statement: str, *arguments: object) -> Act:
    """A statement that fails by itself."""

    async def act(connection: asyncpg.Connection, _other: asyncpg.Connection) -> object:
        if arguments:
            return await connection.execute(statement, *arguments)
        return await connection.execute(statement)

    return act


@pytest.fixture(scope="module")
def database(postgresql: PostgreSQLServer) -> Iterator[Database]:
    """One database for all: an error undoes what it interrupts."""
    fresh = postgresql.create_database()
    yield fresh
    postgresql.drop_database(fresh)


async def lock_timeout(connection: asyncpg.Connection, other: asyncpg.Connection) -> None:
    async with other.transaction():
        await other.execute("lock table stored_rows in access exclusive mode")
        await connection.execute("set lock_timeout = 20")
        await connection.execute("select * from stored_rows")


async def cut_by_an_administrator(
    connection: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    sleeping = asyncio.create_task(connection.execute("select pg_sleep(10)"))
    await asyncio.sleep(0.1)
    await other.execute("select pg_terminate_backend($1)", connection.get_server_pid())
    await sleeping


async def cut_inside_a_transaction(
    connection: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    cut = asyncio.Event()
    connection.add_termination_listener(lambda _: cut.set())
    async with connection.transaction():
        await other.execute("select pg_terminate_backend($1)", connection.get_server_pid())
        await cut.wait()
        await connection.execute("select 1")


async def serialization(connection: asyncpg.Connection, other: asyncpg.Connection) -> None:
    await other.execute("insert into stored_rows values ('c', 'traffic', '2024-01-01', 1)")
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute("select 1 from stored_rows")
        await other.execute("update stored_rows set n = 2")
        await connection.execute("update stored_rows set n = 3")


async def deadlock(connection: asyncpg.Connection, other: asyncpg.Connection) -> None:
    await other.execute(
        "insert into stored_rows values ('a', 'traffic', '2024-01-01', 1), "
        "('b', 'traffic', '2024-01-01', 1)"
    )
    await connection.execute("set deadlock_timeout = 50; begin")
    await other.execute("set deadlock_timeout = 5000; begin")
    await connection.execute("update stored_rows set n = 2 where source = 'a'")
    await other.execute("update stored_rows set n = 2 where source = 'b'")
    waits = asyncio.create_task(other.execute("update stored_rows set n = 3 where source = 'a'"))
    await asyncio.sleep(0.1)
    try:
        await connection.execute("update stored_rows set n = 3 where source = 'b'")
    finally:
        await connection.execute("rollback")
        await waits


async def read_only(connection: asyncpg.Connection, _other: asyncpg.Connection) -> None:
    async with connection.transaction(readonly=True):
        await connection.execute("delete from stored_rows")


async def closed(connection: asyncpg.Connection, _other: asyncpg.Connection) -> None:
    await connection.close()
    await connection.execute("select 1")


async def client_side_timeout(connection: asyncpg.Connection, _other: asyncpg.Connection) -> None:
    await connection.execute("select pg_sleep(10)", timeout=0.05)


async def refused_connection(_connection: asyncpg.Connection, _other: asyncpg.Connection) -> None:
    await asyncpg.connect("postgresql://nobody@127.0.0.1:1/none")


async def surrogate_in_a_copy(connection: asyncpg.Connection, _other: asyncpg.Connection) -> None:
    await connection.copy_records_to_table(
        "stored_rows", records=[("\ud800", "traffic", datetime.now(UTC).date(), 1)]
    )


UNAVAILABLE: dict[str, Act] = {
    "57014 statement timeout": runs("set statement_timeout = 20; select pg_sleep(10)"),
    "55P03 lock timeout": lock_timeout,
    "08003 an administrator cut it": cut_by_an_administrator,
    "40001 serialization": serialization,
    "40P01 deadlock": deadlock,
    "25006 read only": read_only,
    "a connection cut inside a transaction": cut_inside_a_transaction,
    "a closed connection": closed,
    "a timeout of ours": client_side_timeout,
    "nobody listens": refused_connection,
    "53100 disk full": runs("do $$ begin raise sqlstate '53100'; end $$"),
    "58030 input or output": runs("do $$ begin raise sqlstate '58030'; end $$"),
    "08006 connection failure": runs("do $$ begin raise sqlstate '08006'; end $$"),
}
REJECTED: dict[str, Act] = {
    "22021 NUL": runs("select $1::text", "a\0"),
    "22P05 NUL in JSON": runs("""select '"\\u0000"'::jsonb"""),
    "22003 too large": runs("select 1e400::float8"),
    "21000 cardinality": runs("select (select * from generate_series(1, 2))"),
    "23514 check": runs("insert into derive_slots (slots) values (0)"),
    "23505 unique": runs("insert into derive_slots (slots) values (4)"),
    "54000 too long for the index": runs(
        "insert into stored_rows select string_agg(md5(i::text), ''), '', '2024-01-01', 1 "
        "from generate_series(1, 1000) i"
    ),
    "53400 configuration limit": runs("do $$ begin raise sqlstate '53400'; end $$"),
    "half of a surrogate pair": surrogate_in_a_copy,
    "an argument of the wrong type": runs("select $1::float8", 10**400),
}
MISTAKE: dict[str, Act] = {
    "42601 syntax": runs("selekt"),
    "42P01 no such table": runs("select * from nowhere"),
    "42501 no privilege": runs("set role citytally_read; delete from stored_rows"),
}


async def raised(database: Database, act: Act) -> Exception:
    async with connected(database) as connection, connected(database) as other:
        try:
            await act(connection, other)
        except Exception as error:  # noqa: BLE001 # whatever it is, it is to be named
            return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("what", UNAVAILABLE)
async def test_the_condition_of_the_database_is_unavailable(database: Database, what: str) -> None:
    error = await raised(database, UNAVAILABLE[what])

    assert (is_unavailable(error), is_rejection(error)) == (True, False), repr(error)
    assert state_of(error) in (what[:5], None)


@pytest.mark.parametrize("what", REJECTED)
async def test_what_the_data_is_to_blame_for_is_rejected(database: Database, what: str) -> None:
    error = await raised(database, REJECTED[what])

    assert (is_unavailable(error), is_rejection(error)) == (False, True), repr(error)


@pytest.mark.parametrize("what", MISTAKE)
async def test_a_mistake_of_ours_is_neither(database: Database, what: str) -> None:
    error = await raised(database, MISTAKE[what])

    assert (is_unavailable(error), is_rejection(error)) == (False, False), repr(error)


def state_of(error: Exception) -> str | None:
    return getattr(error, "sqlstate", None)


async def test_a_statement_cut_while_writing_quarantines_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timeout inside of a savepoint must not be taken for a poisoned row."""
    log = Log()

    async def hang(table: Table, *_: object) -> int:
        await table.connection.execute("set local statement_timeout = 20; select pg_sleep(10)")
        return 0

    monkeypatch.setattr(Table, "copy", hang)
    async with connected(database) as connection:
        await begin(connection, log)
        with pytest.raises(asyncpg.QueryCanceledError):
            await store(connection, log.batch(reading(), reading(minute=1)), Paths())

        assert await connection.fetchval("select count(*) from quarantine_items") == 0


async def test_a_server_killed_in_the_middle_of_a_batch_is_unavailable(
    mortal_postgresql: PostgreSQLServer,
) -> None:
    server = mortal_postgresql
    database = server.create_database()
    log = Log()
    batch = log.batch(reading())
    async with connected(database) as a, connected(database) as b, connected(database) as watcher:
        await begin(a, Log())
        async with asyncio.timeout(60):
            await a.execute("begin; lock table batches in access exclusive mode")
            storing = asyncio.create_task(store(b, batch, Paths()))
            await waiting(watcher, b)
            server.kill()
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as failed:
                await storing
    assert is_unavailable(failed.value)
    await asyncio.to_thread(server.restart)
    async with connected(database) as connection:
        await store(connection, batch, Paths())

        assert await connection.fetchval("select count(*) from environmental_readings") == 1


def test_ours_is_unavailable_and_no_rejection() -> None:
    error = UnavailableError("a test")

    assert (is_unavailable(error), is_rejection(error)) == (True, False)
