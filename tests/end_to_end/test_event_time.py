"""P6: event time is kept: late is stored at its own hour, never "latest"; the future is refused."""

import itertools
import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services.common import kafka as kafka_clients
from services.storage import registry
from services.storage.batches import hour_of
from tests.support.batches import RECEIVED, START
from tests.support.databases import Database
from tests.support.intake import DATA_FROM, STATION, Intake, MqttMessage, intake
from tests.support.pipeline import Pipeline

SLOTS = range(4)
TOLERANCE = timedelta(minutes=5)
HOURS = [START - timedelta(hours=n) for n in range(72)]


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Intake]:
    async with intake(database) as made:
        await made.register("station-1")
        yield made


def at(time: datetime, co2_ppm: float = 400.0) -> MqttMessage:
    return STATION, json.dumps({"time": time.isoformat(), "co2_ppm": co2_ppm}).encode()


async def changed_hours(desk: Intake) -> set[tuple[datetime, int]]:
    rows = await desk.operate.fetch("select kind, hour, slot from changed_hours")
    assert {row["kind"] for row in rows} <= {"environmental"}
    return {(row["hour"], row["slot"]) for row in rows}


async def newest(desk: Intake) -> datetime:
    """What `devices show` says of the newest reading."""
    portrait = await registry.portrait(desk.operate, "station-1")
    time: datetime = portrait.newest["environmental"]["time"]
    return time


async def test_shuffled_hours_are_stored_at_their_own_and_each_is_marked(desk: Intake) -> None:
    shuffled = random.Random(3).sample(HOURS, len(HOURS))  # noqa: S311 # a fixed order
    for start in range(0, len(shuffled), 10):
        await desk.take(*(at(time) for time in shuffled[start : start + 10]))

    assert set(await desk.values("co2_ppm")) == {("station-1", time) for time in HOURS}
    assert await changed_hours(desk) == set(itertools.product(HOURS, SLOTS))
    assert await newest(desk) == max(HOURS)
    assert await desk.readings() == {"decoded": 72, "written": 72}


async def test_a_late_reading_does_not_become_the_latest(desk: Intake) -> None:
    await desk.take(at(START))
    late = START - timedelta(days=20, minutes=17)

    await desk.take(at(late, 999.0), received_at=RECEIVED + timedelta(hours=3))

    assert await newest(desk) == START
    assert await desk.values("co2_ppm") == {
        ("station-1", START): 400.0, ("station-1", late): 999.0,
    }  # fmt: skip
    assert await changed_hours(desk) == set(itertools.product([START, hour_of(late)], SLOTS))


async def test_the_future_is_refused_and_marks_no_hour(desk: Intake) -> None:
    too_far = RECEIVED + TOLERANCE + timedelta(seconds=1)
    await desk.take(at(RECEIVED + TOLERANCE), at(too_far))

    item = await desk.only_item()
    assert (item["reason"], item["time"]) == ("future_time", too_far)
    assert "301 s ahead of its receipt" in item["detail"]
    assert set(await desk.values("co2_ppm")) == {("station-1", RECEIVED + TOLERANCE)}
    assert {hour for hour, _ in await changed_hours(desk)} == {hour_of(RECEIVED)}
    assert await desk.readings() == {"decoded": 2, "written": 1, "quarantined": 1}


async def test_what_is_older_than_the_devices_data_is_refused(desk: Intake) -> None:
    too_old = DATA_FROM - timedelta(milliseconds=1)
    await desk.take(at(DATA_FROM), at(too_old))

    item = await desk.only_item()
    assert (item["reason"], item["time"]) == ("too_old", too_old)
    assert "where the data of station-1 begin" in item["detail"]
    assert set(await desk.values("co2_ppm")) == {("station-1", DATA_FROM)}
    assert {hour for hour, _ in await changed_hours(desk)} == {DATA_FROM}


async def test_only_what_changes_a_row_marks_its_hour(desk: Intake) -> None:
    await desk.take(at(START), at(START - timedelta(hours=1)))
    before = await desk.operate.fetchval("select max(batch_id) from batches")
    filling = STATION, json.dumps({"time": START.isoformat(), "temperature_c": 20.5}).encode()

    await desk.take(at(START - timedelta(hours=1)), filling)  # a duplicate, and a merge

    marked = await desk.operate.fetch(
        "select hour, slot from changed_hours where batch_id > $1", before
    )
    assert {(row["hour"], row["slot"]) for row in marked} == {(START, slot) for slot in SLOTS}
    assert len(marked) == len(SLOTS)
    assert await desk.readings() == {"decoded": 4, "written": 2, "duplicate": 1, "merged": 1}


async def test_kafkas_clock_judges_not_the_producers_nor_the_devices(city: Pipeline) -> None:
    now = datetime.now(UTC)
    right, ahead, behind = now, now + timedelta(hours=6), now - timedelta(days=30)
    await city.register("station-1")
    city.ingest()
    await produce_as_of(city, now + timedelta(minutes=50), [at(right), at(ahead), at(behind)])
    await city.until_consumed(3)

    rows = await city.fetch("select time, received_at from environmental_readings")
    assert {row["time"] for row in rows} == {right, behind}
    assert all(abs(row["received_at"] - now) < timedelta(minutes=1) for row in rows)
    (item,) = await city.fetch("select reason, time from quarantine_items")
    assert (item["reason"], item["time"]) == ("future_time", ahead)
    assert (await city.balance())["balanced"]


async def produce_as_of(city: Pipeline, clock: datetime, messages: list[MqttMessage]) -> None:
    """Produce from a machine whose clock says something else."""
    producer = kafka_clients.producer(city.settings, "test-wrong-clock")
    await producer.start()
    for topic, payload in messages:
        stamp_ms = int(clock.timestamp() * 1000)
        await producer.send_and_wait(
            city.settings.raw_topic, payload, key=topic.encode(), timestamp_ms=stamp_ms
        )
    await producer.stop()
