"""Run a scenario on a scratch city: from the first publish to the last commit.

QoS 1, ``acks=all``, ``fsync`` and ``synchronous_commit`` on, ledger and changed hours included,
rows counted in the database afterwards: a run whose rows or ledger are not right has no figure.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from schemas.registry import Device, Origin
from services.common.publisher import Publisher
from services.common.settings import Settings
from services.operations.benchmarking.counting import (
    BenchError,
    Progress,
    Timeline,
    counters,
)
from services.operations.benchmarking.producing import produce
from services.operations.benchmarking.scenarios import (
    Message,
    Scenario,
    device_name,
    prepared,
)
from services.operations.benchmarking.watching import Cost, Noise, Watch
from services.operations.local.scratch import Scratch
from services.operations.stack.mosquitto import OPERATOR
from services.storage import registry
from services.storage.pool import connect

CLIENT = "bench"
"""The process that publishes, among those whose cost is told."""
IN_FLIGHT = 5000


@dataclass(frozen=True, slots=True)
class Run:
    """One run. ``per_s`` is messages a second from the first publish to the last commit.

    ``started_s`` is when the first commit was seen, ``steady_per_s`` the rate from there on.
    """

    messages: int
    readings: int
    rows: int
    seconds: float
    per_s: float
    readings_per_s: float
    started_s: float
    steady_per_s: float
    costs: dict[str, Cost]
    noise: Noise
    timeline: Timeline

    def cpu_us_per_message(self, *, client: bool = True) -> float:
        """Return the CPU time of all processes for a message; ``client`` counts ours in."""
        total = sum(cost.cpu_s for name, cost in self.costs.items() if client or name != CLIENT)
        return total / self.messages * 1e6

    def as_json(self) -> dict[str, Any]:
        """Return the run for ``latest.json``; CPU also in microseconds a message."""
        costs = {
            name: asdict(cost) | {"cpu_us_per_message": cost.cpu_s / self.messages * 1e6}
            for name, cost in self.costs.items()
        }
        return asdict(self) | {"costs": costs, "cpu_us_per_message": self.cpu_us_per_message()}


async def register_devices(settings: Settings, devices: int) -> None:
    """Register the devices of all scenarios."""
    connection = await connect(settings, "operate")
    try:
        await registry.register(
            connection,
            devices=[Device(device_name(n), origin=Origin.SIMULATED) for n in range(devices)],
        )
    finally:
        await connection.close()


async def measure(city: Scratch, scenario: Scenario, base_ms: int, progress: Progress) -> Run:
    """Run a scenario once.

    1. make the messages and count what is there; 2. send, and wait for the last commit; 3. hold
    rows and ledger against what was sent.
    """
    messages = prepared(scenario.stream(base_ms))
    async with counters(city.settings) as counted, publisher(city.settings) as client:
        with Watch(pids(city)) as watch:
            began = time.monotonic()
            sending = asyncio.create_task(_send(client, messages), name="send")
            try:
                timeline = await counted.until_consumed(
                    scenario.messages, lambda: client.acknowledged, progress
                )
                seconds = time.monotonic() - began
                await sending
            finally:
                sending.cancel()
        await counted.verify(scenario.rows)
    return _run(scenario, seconds, timeline, watch)


async def measure_backlog(
    city: Scratch, scenario: Scenario, base_ms: int, progress: Progress
) -> Run:
    """Put a backlog into Kafka, then start one ingest process and measure until it is drained.

    The clock starts when the process is launched: its start is part of draining.
    """
    async with counters(city.settings) as counted:
        ingest = city.processes["ingest-0"]
        await asyncio.to_thread(ingest.stop)
        await produce(city.settings, scenario.stream(base_ms))
        began = time.monotonic()
        ingest.launch()
        with Watch({name: pid for name, pid in pids(city).items() if name != CLIENT}) as watch:
            timeline = await counted.until_consumed(
                scenario.messages, lambda: scenario.messages, progress
            )
            seconds = time.monotonic() - began
        await counted.verify(scenario.rows)
    return _run(scenario, seconds, timeline, watch)


def publisher(settings: Settings) -> Publisher:
    """Return the client that sends what is measured."""
    return Publisher(
        settings.mqtt_host, settings.mqtt_port, user=OPERATOR, password=settings.secret(OPERATOR),
        client_id="citytally-bench", in_flight=IN_FLIGHT,
    )  # fmt: skip


def pids(city: Scratch) -> dict[str, int]:
    """Return every process that takes part, ours included."""
    return {name: server.pid for name, server in city.processes.items()} | {CLIENT: os.getpid()}


def require_taken(client: Publisher) -> None:
    """Raise ``BenchError`` if the broker did not take everything, or nobody was subscribed."""
    if client.refused or client.unmatched:
        raise BenchError(
            f"the broker refused {client.refused} messages and gave {client.unmatched} to nobody"
        )


async def _send(client: Publisher, messages: Iterator[Message]) -> None:
    """Publish everything with QoS 1, and wait until the last is acknowledged."""
    await client.publish(messages)
    await client.drain()
    require_taken(client)


def _run(scenario: Scenario, seconds: float, timeline: Timeline, watch: Watch) -> Run:
    return Run(
        scenario.messages, scenario.readings, scenario.rows, seconds, scenario.messages / seconds,
        scenario.readings / seconds, timeline.first_stored_s, timeline.steady_per_s,
        watch.costs, watch.noise, timeline,
    )  # fmt: skip
