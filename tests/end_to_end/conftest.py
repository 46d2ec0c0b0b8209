"""A city that the tests of this folder may kill, stop and pause."""

from collections.abc import Iterator

import pytest

from tests.conftest import revived, running
from tests.support import servers
from tests.support.databases import PostgreSQLServer
from tests.support.mortal import MortalCity
from tests.support.pipeline import pipeline
from tests.support.servers import KafkaServer


@pytest.fixture
def mortal(mortal_kafka: KafkaServer, mortal_postgresql: PostgreSQLServer) -> Iterator[MortalCity]:
    """A city on servers of its own, all of which may be killed."""
    database = mortal_postgresql.create_database()
    with running(servers.new_mosquitto) as mosquitto:
        with pipeline(mosquitto, mortal_kafka, database) as city:
            yield MortalCity(city, mortal_kafka, mortal_postgresql)
        revived(mortal_postgresql).drop_database(database)
