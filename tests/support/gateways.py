"""Gateways of a test's own between a broker and Kafka, and what came out of them."""

import asyncio
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.common import kafka as kafka_clients
from services.common.publisher import Publisher
from services.common.settings import Settings
from services.operations.stack.ports import LOOPBACK, free_port
from tests.support.pipeline import Service, create_topic
from tests.support.servers import KafkaServer, MosquittoServer, Server, server_folder

SETTLE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the raw topic."""

    topic: str
    payload: bytes
    headers: dict[str, bytes]
    partition: int


class Gateway(Server):
    """A gateway process."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._health_port = service.health_port

    @property
    def is_ready(self) -> bool:
        return self.description.is_ready()

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def metric(self, name: str) -> float:
        """The value of ``citytally_gateway_<name>``, without labels."""
        url = f"http://{LOOPBACK}:{self._health_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        (line,) = [line for line in lines if line.startswith(f"citytally_gateway_{name} ")]
        return float(line.split()[1])

    async def until_not_ready(self, timeout_s: float = SETTLE_SECONDS) -> None:
        """Wait until it says that it does not work."""
        deadline = time.monotonic() + timeout_s
        while self.is_ready:
            if time.monotonic() > deadline:
                raise self._error(f"is still ready after {timeout_s} s")
            await asyncio.sleep(0.05)

    async def until_quiet(self, quiet_s: float = 0.5) -> None:
        """Wait until it forwards nothing more and nothing is in flight."""
        before = -1.0
        while (now := self.metric("forwarded_messages_total")) != before or self.metric(
            "in_flight_messages"
        ):
            before = now
            await asyncio.sleep(quiet_s)

    async def until(self, name: str, least: float, timeout_s: float = SETTLE_SECONDS) -> None:
        """Wait until a metric has reached a value."""
        deadline = time.monotonic() + timeout_s
        while (value := self.metric(name)) < least:
            if time.monotonic() > deadline:
                raise self._error(f"has {name} {value}, not {least}, after {timeout_s} s")
            await asyncio.sleep(0.05)


@dataclass
class Gateways:
    """A subscription and a raw topic that no other test uses, and gateways between them."""

    settings: Settings
    folder: Path
    mosquitto: MosquittoServer
    area: str
    started: ExitStack = field(default_factory=ExitStack)

    def start(self, slot: str = "gateway-0", **changes: object) -> Gateway:
        """Start a gateway and wait until it is ready."""
        changes |= {"gateway_slot": self.slot(slot), "gateway_health_port": free_port()}
        settings = self.settings.model_copy(update=changes)
        server = Gateway(Service("gateway", settings, self.folder / slot))
        self.started.callback(server.end)
        server.start()
        return server

    def slot(self, name: str) -> str:
        """A slot's name that is this test's alone on a shared broker."""
        return f"{self.area}-{name}"

    def topic(self, device: object) -> str:
        return f"citytally/{self.area}/{device}"

    def messages(self, numbers: range, devices: int = 100) -> list[tuple[str, bytes]]:
        """Messages whose payload is their number."""
        return [(self.topic(number % devices), b"%d" % number) for number in numbers]

    def publisher(self, numbers: list[int] | None = None, in_flight: int = 1000) -> Publisher:
        """A publisher; the numbers of what the broker acknowledged go to ``numbers``."""
        return Publisher(
            self.mosquitto.host,
            self.mosquitto.port,
            client_id=f"{self.area}-publisher-{uuid4().hex}",
            user="operator",
            password=self.mosquitto.password("operator"),
            in_flight=in_flight,
            on_acknowledged=(numbers if numbers is not None else []).extend,
        )

    async def publish(self, messages: list[tuple[str, bytes]]) -> None:
        """Publish and wait until the broker has acknowledged all of it."""
        async with self.publisher() as publisher:
            await publisher.publish(messages)
            await publisher.drain(SETTLE_SECONDS)

    async def records(self) -> list[Record]:
        """All that the raw topic holds now."""
        consumer = kafka_clients.consumer(self.settings, "test-reader", group=None)
        consumer.subscribe([self.settings.raw_topic])
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            await consumer.seek_to_beginning()
            return await _read(consumer, ends)
        finally:
            await consumer.stop()

    async def until_records(self, least: int, timeout_s: float = SETTLE_SECONDS) -> list[Record]:
        """Wait until the raw topic holds so many records and return them."""
        deadline = time.monotonic() + timeout_s
        while len(records := await self.records()) < least:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(records)} records, not {least}, after {timeout_s} s")
            await asyncio.sleep(0.1)
        return records

    async def numbers(self) -> list[int]:
        """The numbers of all messages in the raw topic, sorted, copies included."""
        return sorted(int(record.payload) for record in await self.records())


async def _read(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> list[Record]:
    found = []
    left = {place for place, end in ends.items() if end}
    while left:
        for place, batch in (await consumer.getmany(timeout_ms=500)).items():
            found += [
                Record(each.key.decode(), each.value, dict(each.headers), each.partition)
                for each in batch
            ]
            if batch[-1].offset + 1 >= ends[place]:
                left.discard(place)
    return found


@contextmanager
def gateways(
    mosquitto: MosquittoServer, kafka: KafkaServer, partitions: int = 12, **changes: object
) -> Iterator[Gateways]:
    """Room for gateways on servers that run; they end with it."""
    area = uuid4().hex[:12]
    with server_folder() as folder:
        (folder / "gateway").write_text(mosquitto.password("gateway"))
        settings = Settings(
            secrets_directory=folder,
            mqtt_host=mosquitto.host,
            mqtt_port=mosquitto.port,
            mqtt_topics=(f"citytally/{area}/#",),
            kafka_bootstrap=kafka.bootstrap,
            raw_topic=f"raw.{area}",
        ).model_copy(update=changes)
        asyncio.run(create_topic(settings, partitions))
        made = Gateways(settings, folder, mosquitto, area)
        with made.started:
            yield made
