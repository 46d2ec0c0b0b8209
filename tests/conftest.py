"""Servers for tests: one of each kind shared by the session, and factories for those to be killed.

Shared servers are started when a test first asks for one. A test that stops, kills or pauses a
server takes one of its own from a `new_…` factory.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support import databases, servers
from tests.support.databases import Database, PostgreSQLServer
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


@pytest.fixture
def database(postgresql: PostgreSQLServer) -> Iterator[Database]:
    """A fresh database with the whole schema, on the shared server."""
    fresh = postgresql.create_database()
    yield fresh
    postgresql.drop_database(fresh)


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


@pytest.fixture
def new_kafka() -> Iterator[Callable[[], KafkaServer]]:
    with ExitStack() as started:
        yield lambda: started.enter_context(running(servers.new_kafka))


@pytest.fixture
def new_postgresql() -> Iterator[Callable[[], PostgreSQLServer]]:
    with ExitStack() as started:
        yield lambda: started.enter_context(running(databases.new_postgresql))


@pytest.fixture
def city(
    new_mosquitto: Callable[[], MosquittoServer], kafka: KafkaServer, database: Database
) -> Iterator[Pipeline]:
    """A pipeline on the shared Kafka and PostgreSQL; its broker is its own, as sessions outlive."""
    with pipeline(new_mosquitto(), kafka, database) as made:
        yield made
