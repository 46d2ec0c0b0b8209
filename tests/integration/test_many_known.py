"""P2: after a crash tens of thousands of messages come twice; they must not hold up new ones."""

import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support.batches import START
from tests.support.databases import Database
from tests.support.intake import Intake, MqttMessage, intake

MESSAGES = 12_000
FEW = 2_000
LONGER = 16.0
"""How many times longer the other five sixths may take: 5 is linear, 25 is each with each."""


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Intake]:
    async with intake(database) as made:
        await made.register(*(f"many-{n}" for n in range(10)))
        yield made


def messages(**values: float) -> list[MqttMessage]:
    """Readings of ten devices over two weeks, which is several chunks of the table."""
    return [
        (
            f"citytally/v1/environmental/many-{n % 10}",
            json.dumps({"time": (START - timedelta(minutes=2 * n)).isoformat(), **values}).encode(),
        )
        for n in range(MESSAGES)
    ]


async def seconds(desk: Intake, batch: list[MqttMessage]) -> float:
    began = time.perf_counter()
    await desk.take(*batch)
    return time.perf_counter() - began


@pytest.mark.long
async def test_five_times_the_known_readings_take_some_five_times_as_long(desk: Intake) -> None:
    await seconds(desk, messages(co2_ppm=400))
    for values in ({"co2_ppm": 400}, {"co2_ppm": 400, "temperature_c": 20.5}, {"co2_ppm": 401}):
        known = messages(**values)
        few = await seconds(desk, known[:FEW])
        many = await seconds(desk, known[FEW:])
        assert many < LONGER * few, (values, few, many)

    assert await desk.readings() == {
        "decoded": 4 * MESSAGES, "written": MESSAGES, "duplicate": MESSAGES, "merged": MESSAGES,
        "quarantined": MESSAGES,
    }  # fmt: skip
