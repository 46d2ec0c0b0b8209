"""Ingest without Kafka: a test's own records, decoded and stored as ingest does, and mended."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from aiokafka.record.util import encode_varint_py

from schemas.registry import Device
from services.common.settings import Settings
from services.ingest.batch import assemble
from services.ingest.devices import Devices
from services.ingest.record_columns import Record, Records
from services.operations import mending
from services.operations.mending import Attempt, Replayed
from services.storage import offsets, registry
from services.storage.balance import read_balance
from services.storage.migrate import set_passwords
from services.storage.pool import ROLES
from services.storage.transactions import store
from services.storage.writing import Paths
from tests.support.batches import RECEIVED, START, TOPIC, connected
from tests.support.databases import Database

DATA_FROM = datetime.fromisoformat("2024-01-01T00:00Z")
TOPIC_ID = UUID(int=1)
WHO = "tester"
STATION = "citytally/v1/environmental/station-1"

GATEWAY_HEADERS = (
    ("slot", b"gateway-0"), ("gateway_time", b"1705915800000"), ("qos", b"1"), ("retain", b"0"),
    ("dup", b"0"),
)  # fmt: skip
"""What the gateway adds to every message."""

MqttMessage = tuple[str, bytes]


def reading(minute: int = 0, **fields: object) -> dict[str, object]:
    return {"time": (START + timedelta(minutes=minute)).isoformat(), **fields}


def message(content: object, topic: str = STATION) -> MqttMessage:
    return topic, json.dumps(content).encode()


def columns_of(records: Sequence[Record]) -> Records:
    """Records as a fetch gives them."""
    return Records(
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [header_block(record.headers) for record in records],
    )


def header_block(headers: Sequence[tuple[str, bytes]]) -> bytes:
    """Headers as they travel: their number, then the length and bytes of each name and value."""
    block = bytearray()
    encode_varint_py(len(headers), block.append)
    for name, value in headers:
        for piece in (name.encode(), value):
            encode_varint_py(len(piece), block.append)
            block += piece
    return bytes(block)


@dataclass
class Intake:
    """One ingest process's and one person's hands on a database, each under its own role."""

    ingest: asyncpg.Connection
    operate: asyncpg.Connection
    settings: Settings = field(default_factory=lambda: Settings(zone="UTC"))
    devices: Devices = field(default_factory=lambda: Devices("UTC"))
    paths: Paths = field(default_factory=Paths)
    ends: Counter[int] = field(default_factory=Counter)

    async def register(self, *device_ids: str, data_from: datetime = DATA_FROM) -> None:
        devices = [Device(device_id, data_from=data_from) for device_id in device_ids]
        await registry.register(self.operate, devices=devices)

    def record(
        self,
        message: MqttMessage,
        partition: int = 0,
        *,
        received_at: datetime = RECEIVED,
        headers: Sequence[tuple[str, bytes]] = GATEWAY_HEADERS,
    ) -> Record:
        """The message as Kafka's next record of a partition."""
        topic, payload = message
        offset = self.ends[partition]
        self.ends[partition] += 1
        return Record(
            offset, int(received_at.timestamp() * 1000),
            topic.encode("utf-8", "surrogatepass"), payload, tuple(headers),
        )  # fmt: skip

    async def take(self, *messages: MqttMessage, received_at: datetime = RECEIVED) -> None:
        """Store messages as one batch of partition 0."""
        await self.store({0: [self.record(each, received_at=received_at) for each in messages]})

    async def store(self, records: Mapping[int, Sequence[Record]]) -> None:
        """Store records as one batch."""
        known = await offsets.positions(self.ingest, TOPIC)
        await offsets.begin(self.ingest, TOPIC, sorted(set(records) - set(known)), TOPIC_ID)
        fetched = {partition: columns_of(found) for partition, found in records.items()}
        batch = await assemble(
            fetched, await offsets.positions(self.ingest, TOPIC), self.devices, self.ingest,
            timedelta(seconds=self.settings.future_tolerance_s),
        )  # fmt: skip
        await store(self.ingest, batch, self.paths)

    async def items(self, state: str | None = "open") -> list[asyncpg.Record]:
        """Quarantine items, oldest first, with their messages and bytes."""
        listed = await mending.list_items(self.operate, state=state, limit=10_000)
        return [await mending.item(self.operate, one["item_id"]) for one in reversed(listed)]

    async def only_item(self) -> asyncpg.Record:
        """The one open item."""
        (item,) = await self.items()
        return item

    async def replay(self, item: asyncpg.Record, mended: bytes | None = None) -> Replayed:
        return await mending.replay_item(
            self.operate, self.settings, item["item_id"], Attempt(WHO, mended=mended)
        )

    async def accept(self, item: asyncpg.Record) -> Replayed:
        return await mending.accept(self.operate, self.settings, item["item_id"], WHO, "measured")

    async def discard(self, item: asyncpg.Record) -> int:
        return await mending.discard(self.operate, [item["item_id"]], WHO, "a test of ours")

    async def values(self, channel: str, kind: str = "environmental") -> dict[Any, Any]:
        """One channel of all rows by (device, time)."""
        rows = await self.operate.fetch(f"select * from {kind}_readings")  # noqa: S608 # a kind
        return {(row["device_id"], row["time"]): row[channel] for row in rows}

    async def balance(self) -> dict[str, Any]:
        """The ledger, which must hold."""
        balance = (await read_balance(self.operate)).as_json(None)
        assert balance["balanced"], balance
        return balance

    async def readings(self) -> dict[str, int]:
        """Readings by outcome, from a ledger that holds; only those that there are."""
        counted: dict[str, int] = (await self.balance())["readings"]
        return {name: n for name, n in counted.items() if n}


@asynccontextmanager
async def intake(database: Database) -> AsyncIterator[Intake]:
    """Hands on an empty database."""
    async with connected(database) as owner:
        await set_passwords(owner, {role: f"{role}-secret" for role in ROLES.values()})
    ingest, operate = (
        connected(database, ROLES[role], f"{ROLES[role]}-secret") for role in ("ingest", "operate")
    )
    async with ingest as ingesting, operate as operating:
        yield Intake(ingesting, operating)
