"""Measure many scenarios, each on a fresh city, so that none inherits the tables of another."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.common.settings import Settings
from services.operations.benchmarking import report
from services.operations.benchmarking.conditions import conditions, hashed_mb_per_s
from services.operations.benchmarking.counting import Progress
from services.operations.benchmarking.latency import Latency, measure_latency
from services.operations.benchmarking.running import (
    Run,
    measure,
    measure_backlog,
    register_devices,
)
from services.operations.benchmarking.scenarios import Scenario, scenario
from services.operations.local.scratch import Scratch, scratch_city
from services.storage.pool import connect

WARM_UP_MESSAGES = 20_000
LATENCY_S = 15.0
"""How long messages are published at half of the rate."""

_EXPECTED_PER_S = {
    "single": 30_000, "batched": 4_000, "backlog": 50_000, "merge": 8_000, "duplicates": 20_000,
}  # fmt: skip
"""On a slow machine of two cores: only the estimate of how long all takes depends on it."""
_CITY_S, _CHECK_S = 15.0, 2.0

Shown = Callable[[str, int], AbstractContextManager[Progress]]
"""Shows how far a run is, given its title and number of messages."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How each scenario is measured. ``latency`` is for single readings only."""

    runs: int
    ingests: int
    latency: bool


class TimeBase:
    """Gives each run an event time of its own, all within the last 300 days."""

    def __init__(self) -> None:
        start = datetime.now(UTC) - timedelta(days=300)
        self._next_ms = int(start.timestamp()) * 1000

    def next(self, each: Scenario) -> int:
        """Return the first time of a run (epoch milliseconds) and reserve what it takes up."""
        base = self._next_ms
        self._next_ms += each.span_ms()
        return base


def estimate_s(chosen: Sequence[Scenario], wanted: Wanted) -> float:
    """Return how many seconds a slow machine takes for all of it."""
    return sum(_estimate_one_s(each, wanted) for each in chosen)


def _estimate_one_s(each: Scenario, wanted: Wanted) -> float:
    run_s = each.messages / _EXPECTED_PER_S[each.name] + _CHECK_S
    if each.name == "backlog":
        run_s *= 2  # it is produced first
    latency_s = LATENCY_S + _CHECK_S if _has_latency(each, wanted) else 0.0
    return _CITY_S + wanted.runs * run_s + latency_s


@contextmanager
def measured_city(settings: Settings, ingests: int = 1) -> Iterator[Scratch]:
    """A scratch city with its services, gone afterwards."""
    with scratch_city(settings) as city:
        city.start_service("gateway-0")
        for number in range(ingests):
            city.start_service(f"ingest-{number}")
        yield city


async def describe(city: Scratch) -> dict[str, Any]:
    """Return under which conditions figures of this city are measured."""
    connection = await connect(city.settings, "read")
    try:
        return await conditions(connection, city.settings)
    finally:
        await connection.close()


async def measure_scenario(
    city: Scratch, each: Scenario, wanted: Wanted, shown: Shown
) -> dict[str, Any]:
    """Return a scenario's entry of ``latest.json``: warm-up, runs, and latency at half the rate."""
    await register_devices(city.settings, each.devices)
    bases = TimeBase()
    warm_up = scenario("single", WARM_UP_MESSAGES, each.devices)
    with shown(f"{each.name}, {each.devices} devices, warm-up", warm_up.messages) as progress:
        await measure(city, warm_up, bases.next(warm_up), progress)
    runs, speeds = [], []
    for n in range(wanted.runs):
        title = f"{each.name}, {each.devices} devices, run {n + 1} of {wanted.runs}"
        with shown(title, each.messages) as progress:
            speeds.append(hashed_mb_per_s())
            runs.append(await _measure_once(city, each, bases.next(each), progress))
    entry = report.summary(each, runs, speeds)
    if _has_latency(each, wanted):
        found = await _latency(city, each, bases, entry["median_per_s"] / 2, shown)
        entry["latency"] = found.as_json()
    return entry


def _has_latency(each: Scenario, wanted: Wanted) -> bool:
    return wanted.latency and each.name == "single"


async def _measure_once(city: Scratch, each: Scenario, base_ms: int, progress: Progress) -> Run:
    run = measure_backlog if each.name == "backlog" else measure
    return await run(city, each, base_ms, progress)


async def _latency(
    city: Scratch, each: Scenario, bases: TimeBase, per_s: float, shown: Shown
) -> Latency:
    sent = scenario("single", int(per_s * LATENCY_S), each.devices)
    title = f"{each.name}, {each.devices} devices, delay at {per_s:,.0f} messages/s"
    with shown(title, sent.messages) as progress:
        return await measure_latency(city, sent, bases.next(sent), per_s, progress)
