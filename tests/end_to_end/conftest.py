"""Servers that the tests of this folder may kill, stop and pause; they are revived for the next."""

from collections.abc import Iterator
from typing import TypeVar

import pytest

from tests.conftest import running
from tests.support import databases, servers
from tests.support.databases import PostgreSQLServer
from tests.support.mortal import MortalCity
from tests.support.pipeline import pipeline
from tests.support.servers import KafkaServer, Server

ServerT = TypeVar("ServerT", bound=Server)


def revived(server: ServerT) -> ServerT:
    """The same server, running, whatever the last test left behind."""
    if server.is_running:
        server.resume()
        server.wait_ready()
    else:
        server.start()
    return server


@pytest.fixture(scope="session")
def mortal_kafka() -> Iterator[KafkaServer]:
    with running(servers.new_kafka) as server:
        yield server


@pytest.fixture(scope="session")
def mortal_postgresql() -> Iterator[PostgreSQLServer]:
    with running(databases.new_postgresql) as server:
        yield server


@pytest.fixture
def mortal(mortal_kafka: KafkaServer, mortal_postgresql: PostgreSQLServer) -> Iterator[MortalCity]:
    """A city on servers of its own, all of which may be killed."""
    kafka, postgresql = revived(mortal_kafka), revived(mortal_postgresql)
    database = postgresql.create_database()
    with running(servers.new_mosquitto) as mosquitto:
        with pipeline(mosquitto, kafka, database) as city:
            yield MortalCity(city, kafka, postgresql)
        revived(postgresql).drop_database(database)
