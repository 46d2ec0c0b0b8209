"""``citytally ledger`` and its audit, against real servers (P3)."""

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import TopicPartition
from typer.testing import CliRunner, Result

from schemas.messages import Decoded, Message
from services.cli.main import app
from services.decoding.conventions import native
from services.operations.auditing import Audit, audit, choose
from services.storage import offsets
from tests.support.databases import Database, DatabasesAhead
from tests.support.pipeline import Pipeline, pipeline
from tests.support.servers import KafkaServer, MosquittoServer

STATION = "citytally/v1/environmental/station-1"
MESSAGES = [
    *[(STATION, json.dumps({"time": 1_705_907_100_000 + n, "co2_ppm": 400 + n}).encode())
      for n in range(20)],
    (STATION, b'[{"time": 1705907200000, "co2_ppm": 500}, {"time": 1705907300000}, 7]'),
    (STATION, b'{"time": 1705907100000, "co2_ppm": 999}'),
    (STATION, b"{nothing"),
    (STATION, b"[]"),
    ("citytally/v1/environmental/stranger", b'{"time": 1705907100000}'),
    ("citytally/v1/elsewhere", b"{}"),
]  # fmt: skip
READINGS = 20 + 3 + 1 + 0 + 1


@pytest.fixture(scope="module")
def read_only(
    mosquitto: MosquittoServer, kafka: KafkaServer, databases_ahead: DatabasesAhead
) -> Iterator[Pipeline]:
    """A pipeline whose ingest has read all messages, for tests that change nothing."""
    database = databases_ahead.take()
    with filled(mosquitto, kafka, database) as made:
        yield made
    databases_ahead.drop(database)


@pytest.fixture
def city(mosquitto: MosquittoServer, kafka: KafkaServer, database: Database) -> Iterator[Pipeline]:
    """The same for one test alone."""
    with filled(mosquitto, kafka, database) as made:
        yield made


@contextmanager
def filled(
    mosquitto: MosquittoServer, kafka: KafkaServer, database: Database
) -> Iterator[Pipeline]:
    with pipeline(mosquitto, kafka, database) as made:
        asyncio.run(_fill(made))
        yield made


async def _fill(city: Pipeline) -> None:
    await city.register("station-1", data_from=datetime(2024, 1, 1, tzinfo=UTC))
    await city.produce(MESSAGES)
    server = await asyncio.to_thread(city.ingest)
    await city.until_consumed(len(MESSAGES))
    await asyncio.to_thread(server.stop)


def ledger(city: Pipeline, *arguments: str, **changes: Any) -> Result:
    """What ``citytally ledger`` says and how it exits."""
    settings = city.settings.model_copy(update=changes)
    environment = {
        f"CITYTALLY_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.model_dump(mode="json").items()
    }
    return CliRunner().invoke(app, ["ledger", *arguments], env=environment | {"COLUMNS": "160"})


def execute(city: Pipeline, statement: str) -> None:
    asyncio.run(city.fetch(statement))


def test_it_balances_and_prints_the_contract_as_json(read_only: Pipeline) -> None:
    done = ledger(read_only, "--check", "--json")

    stated = json.loads(done.stdout)
    assert done.exit_code == 0
    assert list(stated) == ["balanced", "messages", "readings", "quarantine", "recount",
                            "in_flight", "gaps", "equations"]  # fmt: skip
    assert (stated["balanced"], stated["in_flight"]) == (True, 0)
    assert stated["messages"] == {
        "received": len(MESSAGES), "decoded": 24, "undecodable": 2, "liveness": 0, "lost": 0,
    }  # fmt: skip


def test_what_was_not_read_yet_is_in_flight(city: Pipeline) -> None:
    asyncio.run(city.produce(MESSAGES[:5]))

    assert json.loads(ledger(city, "--json").stdout)["in_flight"] == 5


def test_without_kafka_it_balances_all_the_same(read_only: Pipeline) -> None:
    done = ledger(read_only, "--check", "--json", kafka_bootstrap="127.0.0.1:1")

    assert done.exit_code == 0
    assert json.loads(done.stdout)["in_flight"] is None


def test_a_row_deleted_fails_the_check_and_names_the_equation(city: Pipeline) -> None:
    execute(city, "delete from environmental_readings where co2_ppm = 407")
    plain, checked = ledger(city), ledger(city, "--check")

    assert (plain.exit_code, checked.exit_code) == (0, 1)
    assert "equation recount_rows fails: kind environmental, day 2024-01-22" in checked.stderr
    assert "not balanced" in plain.stdout


def test_a_gap_fails_the_check_until_somebody_says_what_it_was(city: Pipeline) -> None:
    asyncio.run(_lose_three(city))
    before = ledger(city, "--check")
    acknowledged = ledger(city, "acknowledge", "1", "--note", "the disk was full")
    after, again = ledger(city, "--check"), ledger(city, "acknowledge", "1", "--note", "again")

    assert (before.exit_code, acknowledged.exit_code, after.exit_code) == (1, 0, 0)
    assert "gap 1 is not acknowledged: 3 records" in before.stderr
    assert "the disk was full" in after.stdout
    assert again.exit_code == 2


def test_all_gaps_are_acknowledged_at_once_and_listed(city: Pipeline) -> None:
    asyncio.run(_lose_three(city, 0, 1, 2))
    wrong = [ledger(city, "acknowledge", *named, "--note", "known")
             for named in ((), ("1", "--all"), ("1", "9"))]  # fmt: skip
    one = ledger(city, "acknowledge", "2", "--note", "the disk was full", "--who", "anna")
    rest = ledger(city, "acknowledge", "--all", "--note", "the same", "--who", "bob", "--json")
    none = ledger(city, "acknowledge", "--all", "--note", "the same")
    after = ledger(city, "--check")

    assert [done.exit_code for done in wrong] == [2, 2, 2]
    assert "no gap 9 waits to be acknowledged" in wrong[-1].stderr
    assert "gap 2 is acknowledged: 3 records" in one.stdout
    told = json.loads(rest.stdout)["acknowledged"]
    assert [(gap["gap_id"], gap["acknowledged_by"], gap["note"]) for gap in told] == [
        (1, "bob", "the same"), (3, "bob", "the same"),
    ]  # fmt: skip
    assert (none.exit_code, none.stdout) == (0, "no gap waits to be acknowledged\n")
    assert after.exit_code == 0


async def _lose_three(city: Pipeline, *partitions: int) -> None:
    """Book three records of each partition as lost (none named: of the first)."""
    connection = await city.connect()
    for partition in partitions or (0,):
        standing = (await offsets.positions(connection, city.settings.raw_topic))[partition]
        await offsets.book_lost(connection, standing, standing.next_offset + 3)
    await connection.close()


def test_a_database_that_is_away_is_told_in_a_sentence(read_only: Pipeline) -> None:
    done = ledger(read_only, "--check", database_port=1)

    assert done.exit_code == 3
    assert "PostgreSQL at 127.0.0.1:1 could not be reached" in done.stderr
    assert "Traceback" not in done.output


def test_an_audit_finds_every_reading_again(read_only: Pipeline) -> None:
    done = ledger(read_only, "--audit", "1000", "--json")

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["audit"] == {
        "holds": True, "messages": len(MESSAGES), "readings": READINGS, "failures": [],
    }  # fmt: skip


def look(city: Pipeline) -> Audit:
    return asyncio.run(audit(city.settings, 1000, random.Random(1)))  # noqa: S311 # chance


def test_an_audit_finds_a_decoder_that_swallows_readings(
    read_only: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = native.decode

    def swallowing(message: Message, facts: Any) -> Any:  # as its original
        result = whole(message, facts)
        return (
            Decoded(result.convention, result.readings[:1])
            if isinstance(result, Decoded)
            else result
        )

    monkeypatch.setattr(native, "decode", swallowing)
    [failure] = look(read_only).failures
    assert failure["detail"] == "the second counter finds 3 readings, 1 readings decoded"


LOSSES = {
    "a row": (
        "delete from environmental_readings where co2_ppm = 407",
        "reading 0 (environmental of station-1) is no row, no revision and no quarantine item",
    ),
    "a value": (
        "update environmental_readings set co2_ppm = 408.5 where co2_ppm = 408",
        "reading 0 (environmental of station-1) is no row, no revision and no quarantine item",
    ),
    "a refused reading": (
        "delete from quarantine_items where reason = 'unknown_device'",
        "reading 0 (environmental of stranger) is no row, no revision and no quarantine item",
    ),
    "a conflict": (
        "delete from quarantine_items where reason = 'conflict'",
        "reading 0 (environmental of station-1) is no row, no revision and no quarantine item",
    ),
    "an undecodable message": (
        "delete from quarantine_items where reason = 'malformed'",
        "undecodable, and no quarantine item says so",
    ),
}


def test_an_audit_finds_what_is_missing(city: Pipeline) -> None:
    """Each loss stays, so that every look finds one thing more."""
    details: list[str] = []
    for statement, detail in LOSSES.values():
        details.append(detail)
        execute(city, statement)

        found = [failure["detail"] for failure in look(city).failures]
        assert sorted(found) == sorted(details)


def test_an_audit_that_fails_exits_1(city: Pipeline) -> None:
    execute(city, LOSSES["a row"][0])
    done = ledger(city, "--audit", "1000")

    assert done.exit_code == 1
    assert "audit: partition" in done.stderr


def test_every_retained_offset_may_be_chosen_and_none_twice() -> None:
    first, second = TopicPartition("t", 0), TopicPartition("t", 1)
    retained = {first: range(5, 8), second: range(2), TopicPartition("t", 2): range(0)}
    everything = [(first, 5), (first, 6), (first, 7), (second, 0), (second, 1)]
    chance = random.Random(1)  # noqa: S311 # chance

    assert choose(retained, 99, chance) == everything
    chosen = [choose(retained, 2, chance) for _ in range(200)]
    assert all(len(set(two)) == 2 for two in chosen)
    assert {one for two in chosen for one in two} == set(everything)
