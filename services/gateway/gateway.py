"""The gateway of one slot: subscriber → forwarder → Kafka, and acknowledgements back.

A message's way: ``Subscriber`` reads it from MQTT, ``Forwarder`` gathers it into a chunk,
``KafkaDelivery`` brings the chunk into Kafka, ``Forwarder`` has it acknowledged in its turn.
"""

import asyncio

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from schemas.topics import MQTT_TOPICS
from services.common import kafka
from services.common.metrics import GatewayMetrics
from services.common.retries import Backoff
from services.common.settings import Settings
from services.gateway.delivery import KafkaDelivery
from services.gateway.forwarder import Bounds, Forwarder
from services.gateway.messages import Chunk
from services.gateway.readiness import Readiness
from services.gateway.subscriber import Subscriber

log = structlog.get_logger(__name__)

SIDES = ("mqtt", "kafka", "delivery")
_PROBE_EVERY_S, _PROBE_TIMEOUT_S = 3.0, 5.0
_CLOSE_TIMEOUT_S = 5.0


class Gateway:
    """All parts of one slot, joined. Built in a running event loop, with a connected client."""

    def __init__(
        self,
        settings: Settings,
        slot: str,
        client: AIOKafkaClient,
        readiness: Readiness,
        metrics: GatewayMetrics,
        *,
        subscribes: bool = True,
    ) -> None:
        self._settings = settings
        self._client = client
        self._readiness = readiness
        delivery = KafkaDelivery(
            client,
            settings.raw_topic,
            slot,
            lambda reason: readiness.say("delivery", reason),
            metrics,
        )
        self.forwarder = Forwarder(
            _bounds(settings),
            delivery.deliver,
            self._acknowledge,
            self._read_on,
            metrics,
        )
        self.subscriber = Subscriber(
            settings,
            slot,
            filters=subscriptions(settings) if subscribes else (),
            take=self.forwarder.take,
            room=lambda: self.forwarder.room,
            report=lambda reason: readiness.say("mqtt", reason),
            metrics=metrics,
        )
        readiness.say("delivery", None)

    async def run(self) -> None:
        """Forward until cancelled. Raises what is neither MQTT's nor Kafka's absence."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.forwarder.run(), name="forwarder")
            tasks.create_task(self._watch_kafka(), name="watch Kafka")
            await self.subscriber.run()

    async def drain(self) -> bool:
        """End without leaving work undone; False if time ran out (the rest comes again).

        1. Nothing more is read.
        2. What is in flight is settled, for at most ``gateway_drain_s``.
        3. The broker gets its acknowledgements, then a goodbye; the session stays.
        """
        self.subscriber.stop_reading()
        try:
            async with asyncio.timeout(self._settings.gateway_drain_s):
                await self.forwarder.drained()
                await self.subscriber.disconnect()
        except OSError as error:  # TimeoutError is one
            log.warning("not drained", error=repr(error), in_flight=self.forwarder.in_flight)
            return False
        return True

    def _acknowledge(self, chunk: Chunk) -> None:
        self.subscriber.acknowledge(chunk)

    def _read_on(self) -> None:
        self.subscriber.resume_reading()

    async def _watch_kafka(self) -> None:
        """Ask Kafka for the topic every few seconds: readiness and partitions without traffic."""
        while True:
            self._readiness.say("kafka", await self._probe())
            await asyncio.sleep(_PROBE_EVERY_S)

    async def _probe(self) -> str | None:
        topic = self._settings.raw_topic
        self._client.add_topic(topic)
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                answers = await self._client.force_metadata_update()
        except TimeoutError:
            return f"no answer within {_PROBE_TIMEOUT_S:.0f} s"
        if not answers:
            return "no answer"
        if self._client.cluster.partitions_for_topic(topic) is None:
            return f"no topic {topic}"
        return None


def subscriptions(settings: Settings) -> tuple[str, ...]:
    """Return the MQTT filters that the gateways of this installation share."""
    conventions = (topic for topics in MQTT_TOPICS.values() for topic in topics)
    return settings.mqtt_topics or tuple(dict.fromkeys(conventions))


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        messages=settings.gateway_in_flight_messages,
        size=settings.gateway_in_flight_bytes,
        chunk_messages=settings.gateway_chunk_messages,
        linger_s=settings.gateway_linger_ms / 1000,
    )


async def open_client(
    settings: Settings, slot: str, readiness: Readiness, stop: asyncio.Event
) -> AIOKafkaClient | None:
    """Return a connected client, however long Kafka takes; None once it is time to stop."""
    backoff = Backoff()
    while not stop.is_set():
        client = kafka.client(settings, f"citytally-{slot}")
        try:
            await client.bootstrap()
        except KafkaError as error:
            readiness.say("kafka", f"no connection: {error}")
            await close_client(client)
            await backoff.wait()
        else:
            return client
    return None


async def close_client(client: AIOKafkaClient) -> None:
    """Close a client; what it could not send in a few seconds has not been acknowledged."""
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await client.close()
    except TimeoutError:
        log.warning("Kafka did not take what was left")
