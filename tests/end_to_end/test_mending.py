"""P4: a bad message harms only itself; it waits with reason and place, and is mended once.

Every step ends with a ledger that holds: `Intake.readings` and `Intake.balance` see to that.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from schemas.messages import Refusal, Undecodable
from schemas.reasons import Reason
from services.operations import mending
from services.operations.mending import Attempt
from tests.support.batches import RECEIVED, START
from tests.support.databases import Database
from tests.support.intake import DATA_FROM, STATION, WHO, Intake, intake, message, reading
from tests.support.mortal import until
from tests.support.pipeline import Pipeline


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Intake]:
    async with intake(database) as made:
        await made.register("station-1")
        yield made


async def five_hundred(city: Pipeline) -> tuple[list[dict[str, object]], asyncpg.Record]:
    """One message of 500 readings went in; the one with a text for a number is in quarantine."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    content: list[dict[str, object]] = [
        {"time": (start + timedelta(seconds=i)).isoformat(), "temperature_c": i / 10}
        for i in range(500)
    ]
    content[250]["temperature_c"] = "25.0 C"
    await city.register("station-1")
    city.gateway()
    city.ingest()
    await city.publish([message(content)])
    await city.until_consumed(1)
    operate = await city.connect("operate")
    (listed,) = await mending.list_items(operate)
    item = await mending.item(operate, listed["item_id"])
    await operate.close()
    return content, item


async def test_one_bad_reading_of_500_is_mended_and_stored_once(city: Pipeline) -> None:
    content, item = await five_hundred(city)
    assert (item["reason"], item["path"]) == ("schema", "[250].temperature_c")
    assert '"25.0 C"' in item["detail"]
    assert json.loads(item["payload"]) == content
    assert await temperatures(city) == {i / 10 for i in range(500)} - {25.0}

    content[250]["temperature_c"] = 25.0
    mended = Attempt(WHO, mended=json.dumps(content).encode())
    operate = await city.connect("operate")
    first = await mending.replay_item(operate, city.settings, item["item_id"], mended)
    again = await mending.replay_item(operate, city.settings, item["item_id"], mended)
    await operate.close()

    assert (first.closed, first.readings["written"]) == (1, 1)
    assert (again.closed, again.readings) == (0, {})
    assert await temperatures(city) == {i / 10 for i in range(500)}
    assert (await city.balance())["balanced"]


async def temperatures(city: Pipeline) -> set[float]:
    assert (await city.balance())["balanced"]
    rows = await city.fetch("select temperature_c from environmental_readings")
    values = [row["temperature_c"] for row in rows]
    assert len(values) == len(set(values))
    return set(values)


async def test_registering_a_device_replays_what_it_had_sent(city: Pipeline) -> None:
    at = [datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=i) for i in range(30)]
    sent = [message({"time": time.isoformat(), "temperature_c": 20.5}) for time in at]
    city.ingest()
    await city.produce(sent)
    await city.until_consumed(len(sent))
    assert (await city.balance())["quarantine"]["by_reason"] == {"unknown_device": 30}

    await city.register("station-1")

    async def all_are_rows() -> bool:
        rows = await city.fetch("select time from environmental_readings")
        return {row["time"] for row in rows} == set(at)

    await until(all_are_rows, "what the device had sent is stored")
    balance = await city.balance()
    assert balance["balanced"], balance
    assert balance["quarantine"]["replayed"] == 30


async def test_the_sweep_replays_registered_devices_and_leaves_strangers(desk: Intake) -> None:
    topics = [f"citytally/v1/environmental/new-{i}" for i in range(3)]
    await desk.take(*(message(reading(temperature_c=20.5), topic) for topic in topics))
    assert await desk.readings() == {"decoded": 3, "quarantined": 3}
    await desk.register("new-0", "new-2")

    looked_at = await mending.replay_registered(desk.ingest, desk.settings, 100)
    again = await mending.replay_registered(desk.ingest, desk.settings, 100)

    assert (looked_at, again) == (2, 0)
    assert set(await desk.values("temperature_c")) == {("new-0", START), ("new-2", START)}
    assert (await desk.only_item())["device_id"] == "new-1"
    assert await desk.readings() == {"decoded": 5, "written": 2, "quarantined": 3}


async def test_a_discarded_item_is_closed_for_good(desk: Intake) -> None:
    await desk.take(message(reading(co2_ppm="x")))
    item = await desk.only_item()

    assert (await desk.discard(item), await desk.discard(item)) == (1, 0)

    replayed = await desk.replay(item)
    assert (replayed.closed, replayed.readings) == (0, {})
    (closed,) = await desk.items(state=None)
    assert (closed["state"], closed["note"]) == ("discarded", "a test of ours")
    assert (await desk.balance())["quarantine"]["discarded"] == 1


async def test_a_discarded_neighbour_does_not_come_back_with_a_replay(desk: Intake) -> None:
    await desk.take(message(reading(0, co2_ppm=400)))
    content = [reading(0, co2_ppm=500), reading(1, co2_ppm="x")]
    await desk.take(message(content))
    schema, conflict = await desk.items()
    await desk.discard(conflict)
    content[1]["co2_ppm"] = 401

    await desk.replay(schema, json.dumps(content).encode())

    assert set((await desk.values("co2_ppm")).values()) == {400, 401}
    assert await desk.items() == []
    await desk.balance()


async def test_a_mended_neighbour_is_not_undone_by_a_later_replay(desk: Intake) -> None:
    # The first was too old since its clock said so; mended, it has another time.
    old, odd = {"time": "2023-12-31T00:00:00Z", "co2_ppm": 400}, reading(1, co2_ppm="x")
    await desk.take(message([old, odd]))
    too_old, schema = await desk.items()
    await desk.replay(too_old, message([reading(0, co2_ppm=400), odd])[1])
    await desk.register("station-1", data_from=DATA_FROM - timedelta(days=400))

    await desk.replay(schema, message([old, reading(1, co2_ppm=401)])[1])

    assert set((await desk.values("co2_ppm")).items()) == {
        (("station-1", START), 400), (("station-1", START + timedelta(minutes=1)), 401),
    }  # fmt: skip
    await desk.balance()


async def test_a_replay_that_changes_nothing_counts_nothing(desk: Intake) -> None:
    await desk.take(message([reading(0, co2_ppm=400), reading(1, co2_ppm="x")]))
    item = await desk.only_item()
    before = await whole_ledger(desk)

    replayed = await desk.replay(item)

    assert (replayed.closed, replayed.still_open, replayed.readings) == (0, ["schema"], {})
    assert await whole_ledger(desk) == before


async def whole_ledger(desk: Intake) -> tuple[dict[str, Any], int]:
    return await desk.balance(), await desk.operate.fetchval("select count(*) from batches")


async def test_another_reason_closes_the_item_and_makes_a_new_one(desk: Intake) -> None:
    future = (RECEIVED + timedelta(hours=1)).isoformat()
    await desk.take(message({"time": future, "co2_ppm": 400}, f"{STATION}0"))
    stranger = await desk.only_item()
    await desk.register("station-10")

    replayed = await desk.replay(stranger)

    assert replayed.closed == 1
    former, current = await desk.items(state=None)
    assert (former["reason"], former["state"]) == ("unknown_device", "replayed")
    assert (current["reason"], current["state"]) == ("future_time", "open")
    assert (await desk.balance())["quarantine"]["by_reason"] == {"future_time": 1}


async def test_a_message_refused_for_another_reason_gets_a_new_item(
    desk: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.take((STATION, b"{"))
    item = await desk.only_item()
    later = Refusal(Reason.UNKNOWN_CONVENTION, "a convention claims it, its shape is of none")
    monkeypatch.setattr(mending, "decode", lambda _: Undecodable(None, later))

    replayed, again = await desk.replay(item), await desk.replay(item)

    assert (replayed.closed, again.closed) == (1, 0)
    assert (await desk.only_item())["reason"] == "unknown_convention"
    assert (await desk.balance())["quarantine"]["replayed"] == 1


async def test_rows_that_the_database_refuses_stand_alone(desk: Intake) -> None:
    sound = [reading(minute, co2_ppm=400 + minute) for minute in range(40)]
    poisoned = [
        reading(100, part="\0"), reading(101, note="\0"), reading(102, part=random_text(40_000)),
    ]  # fmt: skip
    contents = [*sound[:20], *poisoned, *sound[20:]]

    await desk.take(*(message(content) for content in contents))

    assert set((await desk.values("co2_ppm")).values()) == {400 + minute for minute in range(40)}
    items = await desk.items()
    assert [item["kafka_offset"] for item in items] == [20, 21, 22]
    assert {item["reason"] for item in items} == {"rejected_by_database"}
    assert all(len(item["detail"]) > 20 for item in items)
    assert await desk.readings() == {"decoded": 43, "written": 40, "quarantined": 3}


def random_text(length: int) -> str:
    """Text that compression cannot make fit into an index."""
    return "".join(chr(33 + n * n * 7919 % 8_191) for n in range(length))


async def test_two_replays_of_one_message_take_turns(desk: Intake, database: Database) -> None:
    await desk.take(message(reading(co2_ppm=400), f"{STATION}0"))
    item = await desk.only_item()
    await desk.register("station-10")
    attempt = Attempt(WHO)
    async with intake(database) as other:
        async with desk.operate.transaction():
            first = await desk.replay(item)
            racing = asyncio.create_task(
                mending.replay_message(other.operate, desk.settings, item["message_id"], attempt)
            )
            await until(lambda: somebody_waits(other.ingest), "the second replay waits")
        second = await racing

    assert (first.closed, first.readings) == (1, {"written": 1})
    assert (second.closed, second.readings) == (0, {})
    assert await desk.readings() == {"decoded": 2, "written": 1, "quarantined": 1}


async def somebody_waits(connection: asyncpg.Connection) -> bool:
    return bool(await connection.fetchval("select exists (select from pg_locks where not granted)"))


async def test_an_undecodable_message_is_mended(desk: Intake) -> None:
    torn = message([reading(0, co2_ppm=400), reading(1, co2_ppm=401)])[1][:-1]
    await desk.take((STATION, torn), message(reading(2, co2_ppm=402)))
    item = await desk.only_item()
    assert (item["reason"], item["byte_position"]) == ("malformed", len(torn))

    replayed = await desk.replay(item, torn + b"]")

    assert (replayed.closed, replayed.readings) == (1, {"written": 2})
    assert set((await desk.values("co2_ppm")).values()) == {400, 401, 402}
    (closed,) = await desk.items(state=None)
    assert (closed["payload"], closed["mended_payload"]) == (torn, torn + b"]")
    assert (await desk.balance())["messages"]["undecodable"] == 1


async def test_bytes_mended_in_vain_leave_the_item_open(desk: Intake) -> None:
    await desk.take((STATION, b"{"))
    replayed = await desk.replay(await desk.only_item(), b"[")
    assert (replayed.closed, replayed.still_open) == (0, ["malformed"])
    assert (await desk.only_item())["payload"] == b"{"
    await desk.balance()
