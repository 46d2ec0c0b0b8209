"""P4: another value for a stored reading is a conflict, which a person decides.

Every step ends with a ledger that holds: `Intake.readings` and `Intake.balance` see to that.
"""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.operations.mending import MendingError
from tests.support.batches import START
from tests.support.databases import Database
from tests.support.intake import Intake, intake, message, reading


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Intake]:
    async with intake(database) as made:
        await made.register("station-1")
        yield made


async def conflicting(desk: Intake) -> asyncpg.Record:
    """A reading contradicts a stored one."""
    await desk.take(message(reading(temperature_c=20.5, co2_ppm=400)))
    await desk.take(message(reading(temperature_c=21.5, co2_ppm=400)))
    return await desk.only_item()


async def test_a_conflict_shows_both_values_and_changes_nothing(desk: Intake) -> None:
    item = await conflicting(desk)

    replayed = await desk.replay(item)

    assert item["reason"] == "conflict"
    assert "temperature_c: stored 20.5, sent 21.5" in item["detail"]
    assert replayed.still_open == ["conflict"]
    assert await desk.values("temperature_c") == {("station-1", START): 20.5}
    assert await desk.readings() == {"decoded": 2, "written": 1, "quarantined": 1}


async def test_an_accepted_conflict_replaces_the_row_and_keeps_the_former(desk: Intake) -> None:
    item = await conflicting(desk)

    accepted = await desk.accept(item)

    assert (accepted.closed, accepted.readings) == (1, {"corrected": 1})
    assert await desk.values("temperature_c") == {("station-1", START): 21.5}
    (revision,) = await desk.operate.fetch("select outcome, former from reading_revisions")
    assert revision["outcome"] == "corrected"
    former = json.loads(revision["former"])
    assert (former["temperature_c"], former["kafka_offset"]) == (20.5, 0)
    assert await desk.readings() == {"decoded": 3, "written": 1, "quarantined": 1, "corrected": 1}


async def test_the_original_of_a_corrected_row_is_a_duplicate(desk: Intake) -> None:
    await desk.accept(await conflicting(desk))

    await desk.take(message(reading(temperature_c=20.5, co2_ppm=400)))

    assert await desk.values("temperature_c") == {("station-1", START): 21.5}
    assert (await desk.readings())["duplicate"] == 1
    assert await desk.items() == []


async def test_only_an_open_conflict_can_be_accepted(desk: Intake) -> None:
    await desk.take(message(reading(temperature_c="warm")))
    with pytest.raises(MendingError, match="schema, open: only an open conflict"):
        await desk.accept(await desk.only_item())
    assert await desk.readings() == {"decoded": 1, "quarantined": 1}


async def test_accepting_one_conflict_of_a_message_leaves_the_other_open(desk: Intake) -> None:
    await desk.take(message([reading(0, co2_ppm=400), reading(1, co2_ppm=401)]))
    await desk.take(message([reading(0, co2_ppm=500), reading(1, co2_ppm=501)]))
    first, second = await desk.items()

    await desk.accept(second)

    assert set((await desk.values("co2_ppm")).values()) == {400, 501}
    assert (await desk.only_item())["item_id"] == first["item_id"]
    await desk.balance()
