"""Servers for tests: one of each kind shared by the session, and others that may be killed.

Shared servers are started when a test first asks for one. A test that stops, kills or pauses a
server takes a mortal one, which is revived for the next, or one of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support import databases, servers
from tests.support.databases import Database, DatabasesAhead, PostgreSQLServer
from tests.support.pipeline import Pipeline, pipeline
from tests.support.servers import KafkaServer, MosquittoServer, Server, server_folder

ServerT = TypeVar("ServerT", bound=Server)


@contextmanager
def running(prepare: Callable[[Path], ServerT]) -> Iterator[ServerT]:
    """A started server in a folder of its own; both are gone afterwards."""
    with server_folder() as folder:
        server = prepare(folder)
        try:
            server.start()
            yield server
        finally:
            server.end()


def revived(server: ServerT) -> ServerT:
    """The same server, running, whatever the last test left behind."""
    if server.is_running:
        server.resume()
        server.wait_ready()
    else:
        server.start()
    return server


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[MosquittoServer]:
    with running(servers.new_mosquitto) as server:
        yield server


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    with running(servers.new_kafka) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    with running(databases.new_postgresql) as server:
        yield server


@pytest.fixture(scope="session")
def databases_ahead(postgresql: PostgreSQLServer) -> Iterator[DatabasesAhead]:
    with DatabasesAhead(postgresql) as ahead:
        yield ahead


@pytest.fixture
def database(databases_ahead: DatabasesAhead) -> Iterator[Database]:
    """A fresh database with the whole schema, on the shared server."""
    fresh = databases_ahead.take()
    yield fresh
    databases_ahead.drop(fresh)


@pytest.fixture
def empty_database(postgresql: PostgreSQLServer) -> Iterator[Database]:
    """A fresh database with TimescaleDB and no schema, on the shared server."""
    fresh = postgresql.create_empty_database()
    yield fresh
    postgresql.drop_database(fresh)


@pytest.fixture
def new_mosquitto() -> Iterator[Callable[[], MosquittoServer]]:
    with ExitStack() as started:
        yield lambda: started.enter_context(running(servers.new_mosquitto))


@pytest.fixture(scope="session")
def one_mortal_kafka() -> Iterator[KafkaServer]:
    with running(servers.new_kafka) as server:
        yield server


@pytest.fixture
def mortal_kafka(one_mortal_kafka: KafkaServer) -> KafkaServer:
    """A Kafka that may be killed and paused; other tests leave their topics in it."""
    return revived(one_mortal_kafka)


@pytest.fixture(scope="session")
def one_mortal_postgresql() -> Iterator[PostgreSQLServer]:
    with running(databases.new_postgresql) as server:
        yield server


@pytest.fixture
def mortal_postgresql(one_mortal_postgresql: PostgreSQLServer) -> PostgreSQLServer:
    """A PostgreSQL that may be killed and paused."""
    return revived(one_mortal_postgresql)


@pytest.fixture
def city(
    new_mosquitto: Callable[[], MosquittoServer], kafka: KafkaServer, database: Database
) -> Iterator[Pipeline]:
    """A pipeline on the shared Kafka and PostgreSQL; its broker is its own, as sessions outlive."""
    with pipeline(new_mosquitto(), kafka, database) as made:
        yield made
