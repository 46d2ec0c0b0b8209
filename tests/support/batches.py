"""Readings, messages and batches for tests of storage, as ingest would make them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from schemas.channels import CHANNELS
from schemas.messages import Reading, Refusal
from schemas.outcomes import MessageOutcome
from schemas.reasons import Reason
from services.storage import offsets
from services.storage.batches import Arrival, Batch, Copy, Refused, Span, hour_of, source_name
from services.storage.transactions import store
from services.storage.writing import Paths
from tests.support.databases import Database

TOPIC = "telemetry.raw"
START = datetime(2024, 1, 22, 7, tzinfo=UTC)
RECEIVED = datetime(2024, 1, 22, 9, 30, tzinfo=UTC)


def reading(  # noqa: PLR0913 # a reading has as many parts
    device_id: str = "station-1",
    minute: float = 0,
    *,
    part: str = "",
    kind: str = "environmental",
    values: Mapping[str, float] | None = None,
    texts: Mapping[str, str] | None = None,
    flags: Mapping[str, dict[str, Any]] | None = None,
    extra: Mapping[str, Any] | None = None,
    interval_s: float | None = None,
    refusal: Refusal | None = None,
) -> Reading:
    return Reading(
        kind=kind,
        device_id=device_id,
        part=part,
        time=START + timedelta(minutes=minute),
        time_source="device",
        interval_s=interval_s,
        values=dict(values or {}),
        texts=dict(texts or {}),
        flags=dict(flags) if flags else None,
        extra=dict(extra) if extra else None,
        refusal=refusal,
    )


def refused(device_id: str = "stranger", minute: float = 0) -> Reading:
    refusal = Refusal(Reason.UNKNOWN_DEVICE, f"the device {device_id} is not registered")
    return reading(device_id, minute, refusal=refusal)


UNDECODABLE = Refusal(Reason.MALFORMED, "not JSON: expected value at byte 0", position=0)


class Log:
    """One partition of Kafka: gives each message the next offset and makes batches of them."""

    def __init__(self, partition: int = 0, generation: int = 0, next_offset: int = 0) -> None:
        self.partition, self.generation, self.next_offset = partition, generation, next_offset

    @property
    def source(self) -> str:
        return source_name(TOPIC, self.generation, self.partition)

    def arrival(self, payload: bytes = b"{}") -> Arrival:
        offset = self.next_offset
        self.next_offset += 1
        received_at = RECEIVED + timedelta(milliseconds=offset)
        return Arrival(
            self.source, TOPIC, self.generation, self.partition, offset, received_at,
            hour_of(received_at), "citytally/v1/environmental/station-1", payload,
        )  # fmt: skip

    def copies(self, readings: Sequence[Reading]) -> list[Copy]:
        return [Copy(self.arrival(), one) for one in readings]

    def batch(self, *contents: Reading | Refusal) -> Batch:
        """A batch of messages of one reading each, or of none that could be read."""
        first = self.next_offset
        return self.batch_of([(self.arrival(), content) for content in contents], first)

    def batch_of(self, contents: Sequence[tuple[Arrival, Reading | Refusal]], first: int) -> Batch:
        batch = Batch()
        for arrival, content in contents:
            _place(batch, arrival, content)
        last = max((arrival.offset for arrival, _ in contents), default=first - 1)
        span = Span(TOPIC, self.generation, self.partition, first, last + 1, b"witness")
        batch.spans.append(span)
        return batch


def _place(batch: Batch, arrival: Arrival, content: Reading | Refusal) -> None:
    if isinstance(content, Refusal):
        batch.refused.append(Refused(arrival, content))
        return
    batch.tally.message(arrival, MessageOutcome.DECODED)
    batch.tally.decoded(arrival, content.kind)
    if content.refusal is None:
        batch.copies.setdefault(content.kind, []).append(Copy(arrival, content))
    else:
        batch.refused.append(Refused(arrival, content.refusal, content))


@asynccontextmanager
async def connected(
    database: Database, user: str | None = None, password: str = ""
) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the superuser, or as another; let go of even if its server is away."""
    dsn = database.dsn if user is None else database.dsn_of(user, password)
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC"})
    try:
        yield connection
    finally:
        connection.terminate()


async def waiting(watcher: asyncpg.Connection, writer: asyncpg.Connection) -> None:
    """Return when a connection waits for another one's transaction."""
    asked = "select exists (select from pg_locks where pid = $1 and not granted)"
    async with asyncio.timeout(10):
        while not await watcher.fetchval(asked, writer.get_server_pid()):
            await asyncio.sleep(0.01)  # PostgreSQL notifies nobody of a lock that is waited for


async def begin(connection: asyncpg.Connection, *logs: Log) -> None:
    """Make the partitions known, as ingest does when it first sees them."""
    for log in logs:
        await connection.execute(
            "insert into consumed_offsets (topic, generation, partition, first_offset, next_offset)"
            " values ($1, $2, $3, $4, $4)",
            TOPIC, log.generation, log.partition, log.next_offset,
        )  # fmt: skip


async def store_all(
    connection: asyncpg.Connection, *batches: Batch, paths: Paths | None = None
) -> None:
    paths = paths or Paths()
    for batch in batches:
        await store(connection, batch, paths)


async def position(connection: asyncpg.Connection, partition: int = 0) -> int:
    return (await offsets.positions(connection, TOPIC))[partition].next_offset


async def outcomes(connection: asyncpg.Connection, source: str | None = None) -> Counter[str]:
    """How many readings had which outcome."""
    rows = await connection.fetch(
        "select outcome, sum(n)::int as n from ledger_readings "
        "where $1::text is null or source = $1 group by outcome",
        source,
    )
    return Counter({row["outcome"]: row["n"] for row in rows if row["n"]})


async def reasons(connection: asyncpg.Connection) -> Counter[str]:
    """How many items are in quarantine for which reason."""
    rows = await connection.fetch(
        "select reason, count(*)::int as n from quarantine_items group by reason"
    )
    return Counter({row["reason"]: row["n"] for row in rows})


async def rows(connection: asyncpg.Connection, kind: str = "environmental") -> list[dict[str, Any]]:
    """The rows of a kind by identity: only what they hold, without what differs by the clock."""
    found = await connection.fetch(
        f"select * from {kind}_readings order by device_id, part, time"  # noqa: S608 # a kind
    )
    unlike = ("stored_at", "batch_id")
    return [
        {name: value for name, value in row.items() if value is not None and name not in unlike}
        for row in found
    ]


async def books(connection: asyncpg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that must be the same however one order of messages was split into batches."""
    statements = {
        **{f"{kind}_readings": None for kind in CHANNELS},
        "consumed_offsets": "select * from consumed_offsets",
        "ledger_messages": "select * from ledger_messages where n <> 0",
        "ledger_readings": "select * from ledger_readings where n <> 0",
        "stored_rows": "select * from stored_rows where n <> 0",
        "ledger_quarantine": "select * from ledger_quarantine where n <> 0",
        "quarantine_items": "select kafka_offset, reason, detail, device_id, part, time, state "
        "from quarantine_items join quarantine_messages using (message_id)",
        "changed_hours": "select distinct kind, hour, slot from changed_hours",
    }
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name, statement in statements.items():
        if statement is None:
            kind_rows = await rows(connection, name.removesuffix("_readings"))
            found[name] = [tuple(row.items()) for row in kind_rows]
        else:
            found[name] = sorted(
                (tuple(row) for row in await connection.fetch(statement)), key=repr
            )
    return found
