"""P4: whatever a device sends ends in its own outcome, and neither stops nor slows a neighbour."""

import asyncio
import json
import statistics
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import asyncpg

from services.operations import mending
from tests.support.hostile import HOSTILE, NATIVE, Hostile
from tests.support.pipeline import Pipeline

HEALTHY = 20
STRANGER = "hostile-nobody"
SLOWDOWN = 5.0
"""How many times longer a neighbour may take, at most: generous, as the machine is shared."""
FLOOR_S = 0.5


async def prepared(city: Pipeline) -> None:
    """Everybody is registered, save the stranger and what no device can be called."""
    names = [f"healthy-{n}" for n in range(HEALTHY)]
    hostile = [each.device_id for each in HOSTILE if each.device_id != STRANGER]
    await city.register(*names, *hostile, data_from=datetime(2026, 1, 1, tzinfo=UTC))
    city.gateway()
    city.ingest()


def healthy(n: int) -> tuple[str, bytes]:
    """A reading of the moment."""
    content = {"time": datetime.now(UTC).isoformat(), "co2_ppm": 400 + n}
    return f"{NATIVE}healthy-{n % HEALTHY}", json.dumps(content).encode()


def among_neighbours(hostile: Iterable[Hostile]) -> list[tuple[str, bytes]]:
    return [
        message for n, each in enumerate(hostile) for message in (healthy(n), each.message)
    ]  # fmt: skip


async def test_every_hostile_message_ends_in_its_own_outcome(city: Pipeline) -> None:
    await prepared(city)

    assert await city.publish(among_neighbours(HOSTILE)) == 2 * len(HOSTILE)
    await city.until_consumed(2 * len(HOSTILE))

    items = await refusals(city)
    for each in HOSTILE:
        outcome_is_as_it_says(each, items.get((each.message[0], each.reason)))
    assert set(items) == {(each.message[0], each.reason) for each in HOSTILE if each.reason}
    rows = await city.fetch("select device_id, co2_ppm from environmental_readings")
    assert {row["co2_ppm"] for row in rows if row["device_id"].startswith("healthy-")} == {
        400.0 + n for n in range(len(HOSTILE))
    }
    sound = {each.device_id for each in HOSTILE if each.reason is None}
    assert {row["device_id"] for row in rows if row["device_id"].startswith("hostile-")} == sound
    assert {row["co2_ppm"] for row in rows if row["device_id"] == "hostile-duplicate-key"} == {500}
    balance = await city.balance()
    assert balance["balanced"], balance
    assert balance["messages"]["received"] == 2 * len(HOSTILE)


async def refusals(city: Pipeline) -> dict[tuple[str, str | None], asyncpg.Record]:
    """Quarantine items with their messages, by topic and reason."""
    connection = await city.connect("operate")
    listed = await mending.list_items(connection, limit=1000)
    items = [await mending.item(connection, one["item_id"]) for one in listed]
    await connection.close()
    return {(item["mqtt_topic"], item["reason"]): item for item in items}


def outcome_is_as_it_says(each: Hostile, item: asyncpg.Record | None) -> None:
    if each.reason is None:
        return
    assert item is not None, f"{each.name}: not refused as {each.reason}"
    assert item["path"] == each.path, each.name
    assert item["byte_position"] == each.byte, each.name
    assert each.says in item["detail"], (each.name, item["detail"])
    is_a_sentence(item["detail"])
    # What was too large for Kafka is accounted for by name and size only.
    assert item["payload"] == (b"" if each.reason == "too_large" else each.payload), each.name


def is_a_sentence(detail: str) -> None:
    assert 10 < len(detail) < 300, detail
    assert len(detail.split()) > 3, detail
    assert "Traceback" not in detail
    assert "Exception" not in detail


async def test_hostile_messages_do_not_slow_their_neighbours(city: Pipeline) -> None:
    await prepared(city)
    start = datetime.now(UTC)
    alone = await delays(city, start, lambda _: [])
    among = await delays(
        city, datetime.now(UTC), lambda n: [HOSTILE[n % len(HOSTILE)].message]
    )  # fmt: skip

    assert len(alone) == len(among)
    slower = statistics.median(among) / max(FLOOR_S, statistics.median(alone))
    assert slower < SLOWDOWN, (statistics.median(alone), statistics.median(among))
    assert (await city.balance())["balanced"]


async def delays(
    city: Pipeline, since: datetime, hostile: Callable[[int], list[tuple[str, bytes]]]
) -> list[float]:
    """Seconds from publishing to commit of 150 readings, with hostile ones between them."""
    before = await city.consumed()
    messages = 0
    async with city.publisher() as publisher:
        for n in range(150):
            burst = [healthy(n), *hostile(n)]
            messages += len(burst)
            await publisher.publish(burst)
            await asyncio.sleep(0.01)  # a reading every 10 ms, as a city of devices sends
        await publisher.drain(60)
    await city.until_consumed(before + messages)
    rows = await city.fetch(
        "select extract(epoch from stored_at - time)::float8 as delay from environmental_readings "
        "where time >= $1 and device_id like 'healthy-%'", since,
    )  # fmt: skip
    return [row["delay"] for row in rows]
