"""An audit: messages taken at random from Kafka, and every reading of theirs found again.

How many readings a message has is counted by a second counter of its convention, which shares no
code with the decoder: a decoder that swallows readings is found, since it is asked only what the
readings are, never how many.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from schemas.messages import Decoded, Liveness, Message, Reading, Result
from services.common.kafka import consumer
from services.common.settings import Settings
from services.decoding.counting import count_readings
from services.decoding.detect import decode
from services.decoding.judging import Device, judge
from services.storage import evidence, offsets, registry
from services.storage.evidence import Place
from services.storage.folding import Values
from services.storage.offsets import Position
from services.storage.pool import connect
from services.storage.tables import Identity

FETCH_BYTES = 64 * 1024
"""Bytes of one fetch: an audit jumps from record to record and needs no more than one."""
RECORD_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One message of the audit: where it lies, what it is, and what decoding makes of it today."""

    place: Place
    message: Message
    result: Result

    @property
    def readings(self) -> list[Reading]:
        """The readings that decoding yields."""
        return self.result.readings if isinstance(self.result, Decoded) else []


@dataclass(slots=True)
class Audit:
    """How much was looked at, and what was not found."""

    messages: int = 0
    readings: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything was found."""
        return not self.failures

    def fail(self, sample: Sample, detail: str) -> None:
        """Note what could not be found."""
        _, partition, offset = sample.place
        topic = sample.message.topic
        self.failures.append(
            {"partition": partition, "offset": offset, "topic": topic, "detail": detail}
        )

    def as_json(self) -> dict[str, Any]:
        """Return the audit for ``citytally ledger --audit N --json``."""
        return {
            "holds": self.holds,
            "messages": self.messages,
            "readings": self.readings,
            "failures": self.failures,
        }


async def audit(settings: Settings, n: int, chance: random.Random | None = None) -> Audit:
    """Audit up to ``n`` random messages that Kafka retains and ingest has read.

    1. choose offsets below the ones that the database stands at; 2. read the records;
    3. decode and judge them as today, to know the identities; 4. count and find every reading.
    """
    connection = await connect(settings, "read")
    try:
        positions = await offsets.positions(connection, settings.raw_topic)
        records = await _take(settings, positions, n, chance or random.SystemRandom())
        samples = [_sample(record, positions[record.partition]) for record in records]
        await _judge(connection, settings, samples)
        return await _find_all(connection, settings.raw_topic, samples)
    finally:
        await connection.close()


async def _take(
    settings: Settings, positions: Mapping[int, Position], n: int, chance: random.Random
) -> list[ConsumerRecord]:
    if not positions:
        return []
    reader: AIOKafkaConsumer = consumer(
        settings, "citytally-audit", group=None, fetch_bytes_per_partition=FETCH_BYTES
    )
    try:
        await reader.start()
        places = [TopicPartition(settings.raw_topic, partition) for partition in positions]
        reader.assign(places)
        starts = await reader.beginning_offsets(places)
        ends = await reader.end_offsets(places)
        retained = {
            place: range(starts[place], min(ends[place], positions[place.partition].next_offset))
            for place in places
        }
        return [
            record
            for place, offset in choose(retained, n, chance)
            if (record := await _read(reader, place, offset)) is not None
        ]
    finally:
        await reader.stop()


def choose(
    retained: Mapping[TopicPartition, range], n: int, chance: random.Random
) -> list[tuple[TopicPartition, int]]:
    """Choose ``n`` offsets, each retained one equally likely and none twice, in their order."""
    places = sorted(retained)
    total = sum(len(retained[place]) for place in places)
    chosen = sorted(chance.sample(range(total), min(n, total)))
    found: list[tuple[TopicPartition, int]] = []
    before = 0
    for place in places:
        after = before + len(retained[place])
        found += [(place, retained[place][i - before]) for i in chosen if before <= i < after]
        before = after
    return found


async def _read(
    reader: AIOKafkaConsumer, place: TopicPartition, offset: int
) -> ConsumerRecord | None:
    """Read one record; None where it expired since it was chosen."""
    reader.seek(place, offset)
    try:
        async with asyncio.timeout(RECORD_TIMEOUT_S):
            record = await reader.getone(place)
    except OffsetOutOfRangeError:
        return None
    return record if record.offset == offset else None


def _sample(record: ConsumerRecord, position: Position) -> Sample:
    headers = dict(record.headers)
    message = Message(
        topic=(record.key or b"").decode("utf-8", "replace"),
        payload=record.value or b"",
        received_at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        offset=record.offset,
        oversize=_text(headers.get("oversize")),
        refused=_text(headers.get("refused")),
    )
    return Sample((position.generation, record.partition, record.offset), message, decode(message))


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("utf-8", "replace")


async def _judge(
    connection: asyncpg.Connection, settings: Settings, samples: Sequence[Sample]
) -> None:
    """Judge readings as today: that is what gives their times and withholds their values."""
    ids = sorted({reading.device_id for sample in samples for reading in sample.readings})
    known = {
        row["device_id"]: Device(
            row["device_id"], row["device_type"], row["data_from"], settings.zone
        )
        for row in await registry.judged_by(connection, device_ids=ids)
    }
    tolerance = timedelta(seconds=settings.future_tolerance_s)
    for sample in samples:
        for reading in sample.readings:
            judge(reading, known.get(reading.device_id), sample.message.received_at, tolerance)


async def _find_all(connection: asyncpg.Connection, topic: str, samples: Sequence[Sample]) -> Audit:
    items = await evidence.items(connection, topic, [sample.place for sample in samples])
    said = await _said(connection, [reading for each in samples for reading in each.readings])
    found = Audit(messages=len(samples))
    for sample in samples:
        _find(found, sample, items.get(sample.place, set()), said)
    return found


Said = Mapping[tuple[str, Identity], Sequence[Values]]


async def _said(connection: asyncpg.Connection, readings: Iterable[Reading]) -> Said:
    wanted: dict[str, set[Identity]] = defaultdict(set)
    for reading in readings:
        if reading.refusal is None and reading.time is not None:
            wanted[reading.kind].add((reading.device_id, reading.part, reading.time))
    return {
        (kind, identity): versions
        for kind, identities in wanted.items()
        for identity, versions in (await evidence.said(connection, kind, identities)).items()
    }


def _find(found: Audit, sample: Sample, items: set[int | None], said: Said) -> None:
    """Find one message: by an item of its own, or each of its readings."""
    expected = expected_readings(sample)
    decoded = len(sample.readings) if isinstance(sample.result, Decoded | Liveness) else None
    if expected != decoded:
        found.fail(
            sample, f"the second counter finds {_count(expected)}, {_count(decoded)} decoded"
        )
    elif decoded is None and None not in items:
        found.fail(sample, "undecodable, and no quarantine item says so")
    found.readings += expected or 0
    if None in items:  # the whole message waits, or waited, in quarantine
        return
    for reading in sample.readings:
        if reading.position not in items and not _is_said(reading, said):
            found.fail(sample, f"{_name(reading)} is no row, no revision and no quarantine item")


def expected_readings(sample: Sample) -> int | None:
    """Return how many readings a message must have by the second counter, None: undecodable."""
    convention = sample.result.convention
    return None if convention is None else count_readings(convention, sample.message.payload)


def _count(readings: int | None) -> str:
    return "an undecodable message" if readings is None else f"{readings} readings"


def _is_said(reading: Reading, said: Said) -> bool:
    if reading.refusal is not None or reading.time is None:
        return False
    own = {**reading.values, **reading.texts}
    versions = said.get((reading.kind, (reading.device_id, reading.part, reading.time)), ())
    return any(
        all(version.get(name) == value for name, value in own.items()) for version in versions
    )


def _name(reading: Reading) -> str:
    part = f" part {reading.part!r}" if reading.part else ""
    return f"reading {reading.position} ({reading.kind} of {reading.device_id}{part})"
