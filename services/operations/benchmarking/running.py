"""Run a scenario on a scratch city: from the first publish to the last commit.

QoS 1, ``acks=all``, ``fsync`` and ``synchronous_commit`` on, ledger and changed hours included,
rows counted in the database afterwards: a run whose rows or ledger are not right has no figure.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import asyncpg

from schemas.registry import Device, Origin
from services.common import kafka
from services.common.publisher import Publisher
from services.common.settings import Settings
from services.operations.benchmarking.scenarios import Message, Scenario, device_name
from services.operations.benchmarking.watching import Cost, Watch
from services.operations.local.scratch import Scratch
from services.operations.stack.mosquitto import OPERATOR
from services.storage import registry
from services.storage.balance import read_balance
from services.storage.figures import messages_consumed
from services.storage.pool import connect

CHUNK = 500
"""Messages that are handed to the publisher together."""
POLL_S = 0.05
STALLED_S = 60.0

GATEWAY_FLAGS = [("qos", b"1"), ("retain", b"0"), ("dup", b"0")]
"""What the gateway's headers say of a message; a backlog is made of the same records."""

Progress = Callable[[int], None]


class BenchError(Exception):
    """A run that proves nothing: rows are missing, the ledger does not balance, or it stalled."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run. ``per_s`` is messages a second from the first publish to the last commit."""

    messages: int
    readings: int
    rows: int
    seconds: float
    per_s: float
    readings_per_s: float
    publish_s: float
    costs: dict[str, Cost]

    def as_json(self) -> dict[str, Any]:
        """Return the run for ``latest.json``; CPU also in microseconds a message."""
        costs = {
            name: asdict(cost) | {"cpu_us_per_message": cost.cpu_s / self.messages * 1e6}
            for name, cost in self.costs.items()
        }
        total = sum(cost.cpu_s for cost in self.costs.values()) / self.messages * 1e6
        return asdict(self) | {"costs": costs, "cpu_us_per_message": total}


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

    1. count what is there; 2. send, and wait for the last commit; 3. hold rows and ledger against
    what was sent.
    """
    connection = await connect(city.settings, "read")
    try:
        consumed, rows = await messages_consumed(connection), await _rows(connection)
        with Watch(_pids(city)) as watch:
            began = time.monotonic()
            publish_s = await _send(city, scenario, base_ms)
            await _until_consumed(connection, consumed + scenario.messages, consumed, progress)
            seconds = time.monotonic() - began
        await _verify(connection, await _rows(connection) - rows, scenario)
    finally:
        await connection.close()
    return _run(scenario, seconds, publish_s, watch.costs)


async def measure_backlog(
    city: Scratch, scenario: Scenario, base_ms: int, progress: Progress
) -> Run:
    """Put a backlog into Kafka, then start one ingest process and measure until it is drained.

    The clock starts when the process is launched: its start is part of draining.
    """
    connection = await connect(city.settings, "read")
    try:
        consumed, rows = await messages_consumed(connection), await _rows(connection)
        ingest = city.processes["ingest-0"]
        await asyncio.to_thread(ingest.stop)
        await _produce(city.settings, scenario.stream(base_ms))
        began = time.monotonic()
        ingest.launch()
        with Watch({name: pid for name, pid in _pids(city).items() if name != "bench"}) as watch:
            await _until_consumed(connection, consumed + scenario.messages, consumed, progress)
            seconds = time.monotonic() - began
        await _verify(connection, await _rows(connection) - rows, scenario)
    finally:
        await connection.close()
    return _run(scenario, seconds, 0.0, watch.costs)


def _run(scenario: Scenario, seconds: float, publish_s: float, costs: dict[str, Cost]) -> Run:
    return Run(
        scenario.messages, scenario.readings, scenario.rows, seconds, scenario.messages / seconds,
        scenario.readings / seconds, publish_s, costs,
    )  # fmt: skip


def _pids(city: Scratch) -> dict[str, int]:
    return {name: server.pid for name, server in city.processes.items()} | {"bench": os.getpid()}


async def _send(city: Scratch, scenario: Scenario, base_ms: int) -> float:
    """Publish everything with QoS 1; return the seconds until the last was acknowledged."""
    settings = city.settings
    began = time.monotonic()
    async with Publisher(
        settings.mqtt_host, settings.mqtt_port, user=OPERATOR, password=settings.secret(OPERATOR),
        client_id="citytally-bench", in_flight=5000,
    ) as publisher:  # fmt: skip
        for chunk in _chunks(scenario.stream(base_ms)):
            await publisher.publish(chunk)
        await publisher.drain()
        if publisher.refused:
            raise BenchError(f"the broker refused {publisher.refused} messages")
    return time.monotonic() - began


def _chunks(messages: Iterator[Message]) -> Iterator[list[Message]]:
    while chunk := list(islice(messages, CHUNK)):
        yield chunk


async def _produce(settings: Settings, messages: Iterator[Message]) -> None:
    """Put messages into Kafka as a gateway does, without one."""
    producer = kafka.producer(settings, "citytally-bench")
    await producer.start()
    try:
        partitions = len(await producer.partitions_for(settings.raw_topic))
        while chunk := list(islice(messages, CHUNK * 40)):
            groups: dict[int, list[Message]] = {}
            for message in chunk:
                key = message[0].encode()
                groups.setdefault(kafka.partition_for(key, partitions), []).append(message)
            for partition, group in groups.items():
                await _produce_group(producer, settings.raw_topic, partition, group)
    finally:
        await producer.stop()


async def _produce_group(
    producer: Any,  # noqa: ANN401 -- aiokafka ships no types
    topic: str,
    partition: int,
    group: list[Message],
) -> None:
    now_ms = time.time_ns() // 1_000_000
    headers = [("slot", b"bench"), ("gateway_time", b"%d" % now_ms), *GATEWAY_FLAGS]
    answers = []
    batch = producer.create_batch()
    for name, payload in group:
        key = name.encode()
        if batch.append(timestamp=now_ms, key=key, value=payload, headers=headers) is None:
            answers.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(timestamp=now_ms, key=key, value=payload, headers=headers)
    answers.append(await producer.send_batch(batch, topic, partition=partition))
    for answer in answers:
        await answer


async def _until_consumed(
    connection: asyncpg.Connection, wanted: int, before: int, progress: Progress
) -> None:
    """Wait for the commit of the last message. Raises ``BenchError`` when nothing moves."""
    done, moved_at = 0, time.monotonic()
    while True:
        now = await messages_consumed(connection)
        if now != done:
            done, moved_at = now, time.monotonic()
            progress(done - before)
        if done >= wanted:
            return
        if time.monotonic() - moved_at > STALLED_S:
            raise BenchError(f"nothing moves; {wanted - done} messages are missing")
        await asyncio.sleep(POLL_S)


async def _rows(connection: asyncpg.Connection) -> int:
    balance = await read_balance(connection)
    return int(balance.as_json(None)["recount"]["rows"])


async def _verify(connection: asyncpg.Connection, rows: int, scenario: Scenario) -> None:
    """Hold the rows in the tables and the ledger against what was sent."""
    if rows != scenario.rows:
        raise BenchError(f"{rows} rows stored where {scenario.rows} were due")
    balance = (await read_balance(connection)).as_json(None)
    if not balance["balanced"]:
        raise BenchError(f"the ledger does not balance: {balance['equations']}")
