"""A pipeline of a test's own: a topic, a database with its roles, gateways and ingest processes."""

import asyncio
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from schemas.registry import Device
from schemas.topics import RAW
from services.common import kafka as kafka_clients
from services.common.publisher import Publisher
from services.common.settings import Settings
from services.operations.stack.ports import LOOPBACK, free_port
from services.operations.stack.program import Program
from services.storage import registry
from services.storage.balance import read_balance
from services.storage.migrate import set_passwords
from services.storage.pool import ROLES, connect
from tests.support.databases import Database
from tests.support.servers import KafkaServer, MosquittoServer, Server, server_folder

PROJECT = Path(__file__).resolve().parents[2]
SETTLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """A service of ours as a process that can be started, killed and paused like a server."""

    name: str
    settings: Settings
    directory: Path

    @property
    def health_port(self) -> int:
        gateway = self.name == "gateway"
        return self.settings.gateway_health_port if gateway else self.settings.ingest_health_port

    def program(self) -> Program:
        self.directory.mkdir(exist_ok=True)
        environment = {
            f"CITYTALLY_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
            for key, value in self.settings.model_dump(mode="json").items()
            if value is not None
        }
        return Program(
            self.name,
            (sys.executable, "-m", f"services.{self.name}"),
            self.directory,
            environment=environment | {"PYTHONPATH": str(PROJECT)},
        )

    def is_ready(self) -> bool:
        return self.readiness() is None

    def readiness(self) -> str | None:
        """Why the service is not ready, None when it is."""
        url = f"http://{LOOPBACK}:{self.health_port}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return None if answer.status == 200 else "?"
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError as error:
            return repr(error)


@dataclass
class Pipeline:
    """What a test holds: settings, processes, and short ways to ask what became of its readings."""

    settings: Settings
    folder: Path
    mosquitto: MosquittoServer
    started: ExitStack = field(default_factory=ExitStack)

    def gateway(self, slot: str = "gateway-0", *, wait: bool = True, **changes: Any) -> Server:
        """Start a gateway and wait until it is ready."""
        changes |= {"gateway_slot": slot, "gateway_health_port": free_port()}
        return self._service("gateway", slot, changes, wait=wait)

    def ingest(self, name: str = "ingest-0", *, wait: bool = True, **changes: Any) -> Server:
        """Start an ingest process and wait until it is ready."""
        changes |= {"ingest_name": name, "ingest_health_port": free_port()}
        return self._service("ingest", name, changes, wait=wait)

    def _service(
        self, service: str, name: str, changes: dict[str, Any], *, wait: bool = True
    ) -> Server:
        settings = self.settings.model_copy(update=changes)
        server = Server(Service(service, settings, self.folder / name))
        self.started.callback(server.end)
        server.launch()
        if wait:
            server.wait_ready()
        return server

    async def connect(self, role: Any = "owner") -> asyncpg.Connection:
        return await connect(self.settings, role)

    async def register(self, *device_ids: str, data_from: datetime | None = None) -> None:
        connection = await self.connect("operate")
        devices = [Device(device_id, data_from=data_from) for device_id in device_ids]
        await registry.register(connection, devices=devices)
        await connection.close()

    async def publish(self, messages: Iterable[tuple[str, bytes]]) -> int:
        """Publish with QoS 1 and return how many the broker acknowledged."""
        async with self.publisher() as publisher:
            await publisher.publish(list(messages))
            await publisher.drain(60)
            return publisher.acknowledged

    def publisher(self, **options: Any) -> Publisher:
        return Publisher(
            self.mosquitto.host, self.mosquitto.port, user="operator",
            password=self.mosquitto.password("operator"), **({"client_id": "test"} | options),
        )  # fmt: skip

    async def produce(self, records: Iterable[tuple[str, bytes]]) -> None:
        """Put records into the raw topic as a gateway would, without one."""
        producer = kafka_clients.producer(self.settings, "test-producer")
        await producer.start()
        try:
            partitions = len(await producer.partitions_for(self.settings.raw_topic))
            for topic, payload in records:
                key = topic.encode()
                await producer.send(
                    self.settings.raw_topic, payload, key=key,
                    partition=kafka_clients.partition_for(key, partitions),
                )  # fmt: skip
            await producer.flush()
        finally:
            await producer.stop()

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        connection = await self.connect()
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await self.connect()
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def consumed(self) -> int:
        """Messages that ingest is done with, in all generations."""
        n = await self.fetchval(
            "select coalesce(sum(n), 0) from ledger_messages where source <> 'quarantine'"
        )
        return int(n)

    async def until_consumed(self, n: int, timeout_s: float = SETTLE_SECONDS) -> None:
        """Wait until ingest is done with at least ``n`` messages."""
        deadline = time.monotonic() + timeout_s
        while (done := await self.consumed()) < n:
            if time.monotonic() > deadline:
                raise AssertionError(f"{done} of {n} messages consumed within {timeout_s} s")
            await asyncio.sleep(0.1)

    async def until_drained(self, timeout_s: float = SETTLE_SECONDS) -> int:
        """Wait until all that Kafka holds is consumed; return how many messages that is."""
        deadline = time.monotonic() + timeout_s
        while True:
            behind = await self.lag()
            if behind == 0:
                return await self.consumed()
            if time.monotonic() > deadline:
                raise AssertionError(f"{behind} messages still in flight after {timeout_s} s")
            await asyncio.sleep(0.2)

    async def lag(self) -> int:
        """Kafka's end minus where the newest generation stands."""
        ends = await self.ends()
        rows = await self.fetch(
            "select distinct on (partition) partition, next_offset from consumed_offsets "
            "where topic = $1 order by partition, generation desc",
            self.settings.raw_topic,
        )
        following = {row["partition"]: row["next_offset"] for row in rows}
        return sum(end - following.get(partition, 0) for partition, end in ends.items())

    async def ends(self) -> dict[int, int]:
        consumer = kafka_clients.consumer(self.settings, "test-ends", group=None)
        consumer.subscribe([self.settings.raw_topic])
        await consumer.start()
        try:
            while not consumer.assignment():
                await asyncio.sleep(0.05)
            ends = await consumer.end_offsets(consumer.assignment())
            return {place.partition: end for place, end in ends.items()}
        finally:
            await consumer.stop()

    async def balance(self) -> dict[str, Any]:
        """The ledger as ``citytally ledger --json`` gives it."""
        connection = await self.connect()
        try:
            return (await read_balance(connection)).as_json(None)
        finally:
            await connection.close()


@contextmanager
def pipeline(
    mosquitto: MosquittoServer, kafka: KafkaServer, database: Database, **changes: Any
) -> Iterator[Pipeline]:
    """A pipeline on servers that run; its topic is new, its services end with it."""
    with server_folder() as folder:
        settings = settings_for(mosquitto, kafka, database, folder, **changes)
        asyncio.run(_prepare(settings))
        made = Pipeline(settings, folder, mosquitto)
        with made.started:
            yield made


def settings_for(
    mosquitto: MosquittoServer, kafka: KafkaServer, database: Database, folder: Path, **changes: Any
) -> Settings:
    """Settings that name a test's servers, with secrets in its folder."""
    secrets = folder / "secrets"
    secrets.mkdir(mode=0o700)
    passwords = {
        database.user: database.password,
        "gateway": mosquitto.password("gateway"),
        "operator": mosquitto.password("operator"),
    } | {role: f"{role}-secret" for role in ROLES.values()}
    for account, password in passwords.items():
        (secrets / account).write_text(password)
    return Settings(
        state_directory=folder, secrets_directory=secrets, mqtt_host=mosquitto.host,
        mqtt_port=mosquitto.port, kafka_bootstrap=kafka.bootstrap, database_host=database.host,
        database_port=database.port, database_name=database.name, owner_user=database.user,
        raw_topic=f"raw.{datetime.now(UTC):%H%M%S.%f}", consumer_group=f"group-{folder.name}",
        sweep_s=2.0,
    ).model_copy(update=changes)  # fmt: skip


async def _prepare(settings: Settings) -> None:
    connection = await connect(settings, "owner")
    await set_passwords(connection, {role: f"{role}-secret" for role in ROLES.values()})
    await connection.close()
    await create_topic(settings)


async def create_topic(settings: Settings, partitions: int = RAW.partitions) -> None:
    """Create the raw topic of a pipeline."""
    topic = replace(RAW, name=settings.raw_topic, partitions=partitions)
    admin = kafka_clients.admin(settings, "test-admin")
    await admin.start()
    try:
        await kafka_clients.create_topics(admin, [topic])
    finally:
        await admin.close()
