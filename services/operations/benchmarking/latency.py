"""How long a message takes from publish to visible row, at a rate that leaves room.

1. Messages are published at a steady rate, and the instant at which each was due is kept.
2. Beside it the table of batches is read every hundredth of a second: the instant at which a batch
   is first seen lies after its commit, by one such reading at most. That is when its rows are
   visible.
3. Afterwards each row tells its batch: every message is measured, none is sampled. Both instants
   are of one clock, that of this process.
"""

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from services.operations.benchmarking.counting import BenchError, Progress, counters
from services.operations.benchmarking.pacing import publish_at
from services.operations.benchmarking.running import publisher, require_taken
from services.operations.benchmarking.scenarios import INTERVAL_MS, Scenario, prepared
from services.operations.local.scratch import Scratch
from services.storage.arrivals import batches_of_rows, newest_batches
from services.storage.pool import connect

LOOK_EVERY_S = 0.01
PERCENTILES = {"p50_s": 50, "p95_s": 95, "p99_s": 99, "highest_s": 100}


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from publish to visible row, of every message of a run at ``per_s``."""

    per_s: float
    messages: int
    p50_s: float
    p95_s: float
    p99_s: float
    highest_s: float

    def as_json(self) -> dict[str, Any]:
        """Return it for ``latest.json``."""
        return asdict(self)


async def measure_latency(
    city: Scratch, scenario: Scenario, base_ms: int, per_s: float, progress: Progress
) -> Latency:
    """Publish single readings at a rate, and tell how long they took; rows and ledger are held."""
    messages = prepared(scenario.stream(base_ms))
    due: list[float] = []
    seen = _Seen(city)
    watching = asyncio.create_task(seen.watch(), name="watch batches")
    try:
        async with counters(city.settings) as counted, publisher(city.settings) as client:
            sending = asyncio.create_task(
                publish_at(client, messages, per_s, lambda n, at: due.extend([at] * n))
            )
            try:
                await counted.until_consumed(
                    scenario.messages, lambda: client.acknowledged, progress
                )
                await sending
            finally:
                sending.cancel()
            require_taken(client)
            await counted.verify(scenario.rows)
        await asyncio.sleep(2 * LOOK_EVERY_S)  # the last batch is seen too
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    batches = await _batches(city, scenario, base_ms)
    return latency(per_s, np.array(due), np.array([seen.at[batch] for batch in batches]))


def latency(per_s: float, due: np.ndarray[Any, Any], visible: np.ndarray[Any, Any]) -> Latency:
    """Return the percentiles of the differences, message by message."""
    taken = visible - due
    found = {name: float(np.percentile(taken, p)) for name, p in PERCENTILES.items()}
    return Latency(per_s, len(due), **found)


class _Seen:
    """When each batch was seen first."""

    def __init__(self, city: Scratch) -> None:
        self._settings = city.settings
        self.at: dict[int, float] = {}

    async def watch(self) -> None:
        """Look until cancelled."""
        connection = await connect(self._settings, "read")
        try:
            while True:
                found = await newest_batches(connection)
                now = time.monotonic()
                for batch in found:
                    self.at.setdefault(batch, now)
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await connection.close()


async def _batches(city: Scratch, scenario: Scenario, base_ms: int) -> list[int]:
    """Return the batch of each message, in the order in which they were published."""
    batches = [0] * scenario.messages
    connection = await connect(city.settings, "owner")
    try:
        end_ms = base_ms + scenario.span_ms()
        for row in await batches_of_rows(connection, "environmental", base_ms, end_ms):
            turn = (row.time_ms - base_ms) // INTERVAL_MS
            batches[turn * scenario.devices + int(row.device_id.rpartition("-")[2])] = row.batch_id
    finally:
        await connection.close()
    if not all(batches):
        raise BenchError("a message has no row")
    return batches
