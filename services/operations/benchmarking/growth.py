"""What becomes of rate and query times as the table grows, and of memory with many devices.

Rows are filled in by SQL (`storage.filling`), in the order of time and booked in the ledger; at
each size single readings are then measured through the whole pipeline, and questions are asked.
Memory is that of a backlog, drained with the devices of a large city.
"""

import asyncio
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from services.common.settings import Settings
from services.operations.benchmarking.running import measure, measure_backlog, register_devices
from services.operations.benchmarking.scenarios import device_name, scenario
from services.operations.benchmarking.suite import Shown, TimeBase, describe, measured_city
from services.operations.local.scratch import Scratch
from services.storage.filling import Filling, Question, fill, middle_batch, questions, settle
from services.storage.pool import connect

ROWS = (1_000_000, 10_000_000, 50_000_000)
MEMORY_DEVICES = 100_000
ROUNDS_TOGETHER = 1_000_000
"""Rows that are filled in by one statement, about."""
ASKED = 20
"""Times that each question is asked; the median counts. So what it asks for is in memory."""
INTERVAL = timedelta(minutes=5)
LAST = timedelta(days=30)
"""How long ago what is filled in begins to end: apart from the times of measured runs."""

_FILLED_PER_S, _PER_S = 60_000, 20_000


@dataclass(frozen=True, slots=True)
class Growth:
    """Sizes in ascending order, devices that have the rows, and messages of each measured run."""

    rows: Sequence[int]
    devices: int
    messages: int


def estimate_s(wanted: Growth) -> float:
    """Return how many seconds a slow machine takes."""
    measured = len(wanted.rows) * (wanted.messages / _PER_S + 20) + wanted.messages * 15 / _PER_S
    return wanted.rows[-1] / _FILLED_PER_S + measured + 60


def measure_growth(settings: Settings, wanted: Growth, shown: Shown) -> dict[str, Any]:
    """Return conditions, what was measured at each size, and memory."""
    with measured_city(settings) as city:
        described = asyncio.run(describe(city))
        sizes = asyncio.run(_sizes(city, wanted, shown))
    with measured_city(settings) as city:
        memory = asyncio.run(_memory(city, wanted.messages * 5, shown))
    return {
        "conditions": described, "devices": wanted.devices, "sizes": sizes, "memory": memory,
    }  # fmt: skip


async def _sizes(city: Scratch, wanted: Growth, shown: Shown) -> list[dict[str, Any]]:
    await register_devices(city.settings, wanted.devices)
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - LAST
    filling = Filling("bench-", wanted.devices, start, INTERVAL)
    connection = await connect(city.settings, "owner")
    bases, turns = TimeBase(), 0
    found: list[dict[str, Any]] = []
    try:
        for rows in wanted.rows:
            turns = await _fill_up(connection, filling, turns, rows, shown)
            one = await _one_size(city, connection, filling, wanted.messages, bases, shown)
            found.append({"rows": turns * filling.devices} | one)
    finally:
        await connection.close()
    return found


async def _fill_up(
    connection: asyncpg.Connection, filling: Filling, turns: int, rows: int, shown: Shown
) -> int:
    """Fill in until there are so many rows; return how many rounds that is altogether."""
    together = max(1, ROUNDS_TOGETHER // filling.devices)
    wanted = max(turns + 1, rows // filling.devices)
    with shown(f"filling up to {rows:,} rows", wanted * filling.devices) as progress:
        while turns < wanted:
            more = min(together, wanted - turns)
            await fill(connection, filling, turns, more)
            turns += more
            progress(turns * filling.devices)
    await settle(connection)
    return turns


async def _one_size(
    city: Scratch,
    connection: asyncpg.Connection,
    filling: Filling,
    messages: int,
    bases: TimeBase,
    shown: Shown,
) -> dict[str, Any]:
    batch_id, hour = await middle_batch(connection)
    asked = questions(
        device_name(filling.devices // 2), filling.start + timedelta(days=1), hour, batch_id
    )
    times = await _times(connection, asked)
    each = scenario("single", messages, filling.devices)
    warm_up = scenario("single", max(1, messages // 10), filling.devices)
    with shown("warm-up", warm_up.messages) as progress:
        await measure(city, warm_up, bases.next(warm_up), progress)
    with shown("single readings", each.messages) as progress:
        run = await measure(city, each, bases.next(each), progress)
    return {"per_s": run.per_s, "queries_ms": times}


async def _times(connection: asyncpg.Connection, asked: dict[str, Question]) -> dict[str, float]:
    """Return the median time of each question in milliseconds."""
    return {name: await _time(connection, question) for name, question in asked.items()}


async def _time(connection: asyncpg.Connection, question: Question) -> float:
    taken = []
    for _ in range(ASKED):
        began = time.perf_counter()
        await question(connection)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


async def _memory(city: Scratch, messages: int, shown: Shown) -> dict[str, Any]:
    """Return the highest resident memory of each process, with many devices and a backlog."""
    await register_devices(city.settings, MEMORY_DEVICES)
    bases = TimeBase()
    live = scenario("single", messages // 5, MEMORY_DEVICES)
    backlog = scenario("backlog", messages // 5, MEMORY_DEVICES)
    with shown("memory, live", live.messages) as progress:
        first = await measure(city, live, bases.next(live), progress)
    with shown("memory, backlog", backlog.messages) as progress:
        second = await measure_backlog(city, backlog, bases.next(backlog), progress)
    return {
        "devices": MEMORY_DEVICES, "messages": backlog.messages,
        "peak_bytes": _peaks([first.costs, second.costs]),
    }  # fmt: skip


def _peaks(costs: Iterable[Any]) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for of_run in costs:
        for name, cost in of_run.items():
            peaks[name] = max(peaks.get(name, 0), cost.rss_peak)
    return peaks
