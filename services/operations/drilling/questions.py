"""What a drill asks database and Kafka, each over a new connection, since servers are killed."""

from collections import Counter
from collections.abc import Awaitable, Callable

import asyncpg

from services.operations.drilling.readings import Refusal, Row
from services.operations.drilling.result import DrillError
from services.operations.drilling.stage import Stage
from services.storage.queries import query


async def rows(stage: Stage) -> list[asyncpg.Record]:
    """Return all readings that are stored."""
    async with stage.connection("owner") as connection:
        return list(await connection.fetch(query("drill.rows")))


async def has(stage: Stage, row: Row) -> bool:
    """Whether a reading is stored by now."""
    async with stage.connection() as connection:
        return bool(await connection.fetchval(query("drill.has_row"), row.device_id, row.time))


async def quarantined(stage: Stage) -> Counter[Refusal]:
    """Return what lies in quarantine, and how many items it made."""
    async with stage.connection() as connection:
        found = await connection.fetch(query("drill.quarantined"))
    return Counter({Refusal(row["payload"], row["reason"]): row["n"] for row in found})


def somebody_waits(stage: Stage) -> Callable[[], Awaitable[bool]]:
    """Whether a statement waits for the hypertable that we hold."""

    async def waits() -> bool:
        async with stage.connection() as connection:
            return bool(await connection.fetchval(query("drill.lock_waiters")))

    return waits


def in_kafka(stage: Stage, n: int) -> Callable[[], Awaitable[bool]]:
    """Whether at least so many records wait in Kafka."""

    async def wait() -> bool:
        in_flight = (await stage.account()).in_flight
        return in_flight is not None and in_flight >= n

    return wait


async def positions(stage: Stage) -> dict[int, int]:
    """Return where each partition of the raw topic goes on, by the database."""
    found = (await stage.account()).balance.positions
    return {
        partition: following
        for (topic, partition), following in found.items()
        if topic == stage.settings.raw_topic
    }


async def ends(stage: Stage) -> dict[int, int]:
    """Return where each partition's log ends."""
    stated = await stage.account()
    if stated.lag is None:
        raise DrillError("Kafka does not say where its log ends")
    known = stated.balance.positions
    topic = stage.settings.raw_topic
    return {place: known.get((topic, place), 0) + n for place, n in stated.lag.items()}
