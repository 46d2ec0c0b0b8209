"""Build an ingest process and run it."""

import asyncio
from contextlib import AsyncExitStack
from typing import Protocol

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from services.common import kafka, lifecycle, logs
from services.common.health import Health, HealthServer
from services.common.metrics import IngestMetrics
from services.common.retries import Backoff
from services.common.settings import Settings
from services.ingest.consumer import Consumer
from services.ingest.database import Database
from services.ingest.devices import Devices
from services.ingest.log import Log
from services.ingest.reader import Clients, Reader
from services.ingest.record_columns import fetch_columns
from services.ingest.topic_identity import TopicIdentity

PROOF_BYTES = 64 * 1024
"""What proving a position fetches of a partition: one record is enough."""

CLOSE_TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


def run() -> int:
    """Run one ingest process until it is told to stop; returns its exit code."""
    settings = Settings()
    logs.configure("ingest")
    fetch_columns()
    return lifecycle.run(lambda stop: serve(settings, stop))


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Serve until ``stop``; everything that was opened is closed again."""
    registry = CollectorRegistry()
    health, metrics = Health(alive_for_s=120), IngestMetrics(registry)
    async with AsyncExitStack() as opened:
        opened.enter_context(HealthServer(settings.ingest_health_port, health, registry))
        database = Database(settings, Devices(settings.zone), metrics)
        opened.push_async_callback(database.close)
        consumer = await _start(settings, database, health, metrics, opened, stop)
        if consumer is not None:
            lifecycle.freeze_garbage_collector()
            await consumer.run(stop)
    return 0


async def _start(
    settings: Settings,
    database: Database,
    health: Health,
    metrics: IngestMetrics,
    opened: AsyncExitStack,
    stop: asyncio.Event,
) -> Consumer | None:
    """Start the Kafka clients, as soon as there is a Kafka; None if told to stop before."""
    backoff = Backoff(first_s=0.2, cap_s=5.0)
    while not stop.is_set():
        health.tick()
        try:
            async with AsyncExitStack() as starting:
                consumer = await _build(settings, database, health, metrics, starting)
                opened.push_async_exit(starting.pop_all())
                return consumer
        except (KafkaError, OSError) as error:
            health.not_ready(f"Kafka: {error!r}")
            log.warning("Kafka is not there yet", detail=repr(error))
            await backoff.wait()
    return None


async def _build(
    settings: Settings,
    database: Database,
    health: Health,
    metrics: IngestMetrics,
    opened: AsyncExitStack,
) -> Consumer:
    name = settings.ingest_name
    reader = kafka.consumer(settings, name, group=settings.consumer_group)
    prover = kafka.consumer(
        settings, f"{name}-proof", group=None, fetch_bytes_per_partition=PROOF_BYTES
    )
    identity = TopicIdentity(settings, f"{name}-identity")
    for client in (reader, prover, identity):
        opened.push_async_callback(_end, client)
        await client.start()
    clients = Clients(reader, identity, Log(settings.raw_topic, prover))
    reading = Reader(settings, clients, metrics)
    return Consumer(settings, reading, database, health, metrics)


class Stoppable(Protocol):
    """A client of Kafka."""

    async def stop(self) -> None:
        """Say goodbye and disconnect."""


async def _end(client: Stoppable) -> None:
    """Stop a client of Kafka. Where that is away there is no goodbye, and none is needed."""
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.wait({stopping}, timeout=CLOSE_TIMEOUT_S)
    if not stopping.done():
        stopping.cancel()
        await asyncio.wait({stopping})
    # aiokafka cancels a task of its own that waits to try again, and lets that cancel `stop`.
    error = None if stopping.cancelled() else stopping.exception()
    if error is not None and not isinstance(error, KafkaError):
        raise error
    if error is not None or stopping.cancelled():
        log.warning("left Kafka without a goodbye", detail=repr(error))
