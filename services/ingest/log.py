"""Whether Kafka's log is still the one that our offsets are of, and what is missing of it.

The database's offsets rule. Each finding is booked before anything is read: records that expired
unread are a gap of known size, a log that was replaced is a new generation and a gap of unknown
size.
"""

import hashlib
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from enum import Enum, auto
from uuid import UUID

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from services.ingest.record_columns import Record
from services.ingest.topic_identity import Standing
from services.storage import offsets
from services.storage.offsets import Position

WITNESS_BYTES = 16
WITNESS_TIMEOUT_S = 15.0

log = structlog.get_logger(__name__)


class Verdict(Enum):
    """What a log looks like from our offset."""

    SAME = auto()
    COMPARE = auto()
    """The record before our offset is there: its hash decides."""
    LOST = auto()
    REPLACED = auto()


def examine(position: Position, topic_id: UUID, start: int, end: int) -> Verdict:
    """Judge a log by its identity, its start and its end (the offset of the next record to come).

    A log that starts exactly at our offset can't show the witness and counts as the same.
    """
    if position.topic_id is not None and position.topic_id != topic_id:
        return Verdict.REPLACED
    if end < position.next_offset:
        return Verdict.REPLACED
    if start > position.next_offset:
        return Verdict.LOST
    if position.witness is None or start == position.next_offset:
        return Verdict.SAME
    return Verdict.COMPARE


def witness_of(record: Record) -> bytes:
    """Return the hash by which a record is known again: append time, key and value."""
    digest = hashlib.blake2b(digest_size=WITNESS_BYTES)
    digest.update(record.timestamp.to_bytes(8, "big", signed=True))
    digest.update(record.key or b"")
    digest.update(b"\0")
    digest.update(record.value or b"")
    return digest.digest()


class Log:
    """Proves positions against the brokers. Its consumer belongs to no group."""

    def __init__(self, topic: str, prover: AIOKafkaConsumer) -> None:
        self._topic = topic
        self._prover = prover

    async def prove(
        self, connection: asyncpg.Connection, partitions: Collection[int], standing: Standing
    ) -> dict[int, Position]:
        """Return where each partition goes on, with every loss booked.

        1. partitions that a replaced topic has no more are booked, whoever read them;
        2. partitions never seen begin at 0;
        3. identity, start and end of each log are held against its offset;
        4. where these agree, the record before the offset is compared;
        5. what does not agree is booked, and looked at again from where it goes on.
        """
        topic_id = standing.topic_id
        known = await offsets.positions(connection, self._topic)
        for position in _gone(known.values(), standing):
            await _book(connection, position, Verdict.REPLACED, 0, topic_id)
        new = [partition for partition in partitions if partition not in known]
        if new:
            await offsets.begin(connection, self._topic, new, topic_id)
            known = await offsets.positions(connection, self._topic)
        proven: dict[int, Position] = {}
        open_positions = {partition: known[partition] for partition in partitions}
        while open_positions:
            verdicts = await self._verdicts(list(open_positions.values()), topic_id)
            for partition, verdict in verdicts.items():
                position, start = open_positions[partition], verdict[1]
                if verdict[0] is Verdict.SAME:
                    proven[partition] = await _with_id(connection, position, topic_id)
                    del open_positions[partition]
                else:
                    open_positions[partition] = await _book(
                        connection, position, verdict[0], start, topic_id
                    )
        return proven

    async def _verdicts(
        self, positions: Sequence[Position], topic_id: UUID
    ) -> dict[int, tuple[Verdict, int]]:
        """Return SAME, LOST or REPLACED for each partition, and its log's start."""
        places = {position.partition: self._place(position) for position in positions}
        starts = await self._prover.beginning_offsets(list(places.values()))
        ends = await self._prover.end_offsets(list(places.values()))
        verdicts: dict[int, tuple[Verdict, int]] = {}
        to_compare: list[Position] = []
        for position in positions:
            place = places[position.partition]
            verdict = examine(position, topic_id, starts[place], ends[place])
            if verdict is Verdict.COMPARE:
                to_compare.append(position)
            verdicts[position.partition] = (verdict, starts[place])
        for partition, same in (await self._compare(to_compare)).items():
            verdict = Verdict.SAME if same else Verdict.REPLACED
            verdicts[partition] = (verdict, verdicts[partition][1])
        return verdicts

    async def _compare(self, positions: Sequence[Position]) -> dict[int, bool]:
        """Read the record before each offset and compare its hash with the witness."""
        if not positions:
            return {}
        waiting = {self._place(position): position for position in positions}
        self._prover.assign(list(waiting))
        for place, position in waiting.items():
            self._prover.seek(place, position.next_offset - 1)
        same: dict[int, bool] = {}
        deadline = time.monotonic() + WITNESS_TIMEOUT_S
        while waiting:
            if time.monotonic() > deadline:
                raise KafkaTimeoutError(f"no record of {sorted(waiting)} came to be compared")
            found = await self._prover.getmany(*waiting, timeout_ms=1000)
            for place, records in found.items():
                if place in waiting:
                    same[place.partition] = _is_witness(records.record(0), waiting.pop(place))
        self._prover.unsubscribe()
        return same

    def _place(self, position: Position) -> TopicPartition:
        return TopicPartition(self._topic, position.partition)


def _gone(known: Iterable[Position], standing: Standing) -> list[Position]:
    """Return the partitions of a former log that its successor lacks."""
    return [
        position
        for position in known
        if position.partition not in standing.epochs and position.topic_id != standing.topic_id
    ]


def _is_witness(record: Record, position: Position) -> bool:
    """Compare; a record that is not the one before our offset can't be compared, and counts."""
    if record.offset != position.next_offset - 1:
        return True
    return witness_of(record) == position.witness


async def _with_id(connection: asyncpg.Connection, position: Position, topic_id: UUID) -> Position:
    if position.topic_id is None:
        await offsets.learn_topic_id(connection, position, topic_id)
    return replace(position, topic_id=topic_id)


async def _book(
    connection: asyncpg.Connection,
    position: Position,
    verdict: Verdict,
    start: int,
    topic_id: UUID,
) -> Position:
    """Book a loss or a new log and return where it goes on."""
    if verdict is Verdict.LOST:
        gap = await offsets.book_lost(connection, position, start)
        log.error(
            "records expired unread",
            source=position.source,
            gap=gap,
            first=position.next_offset,
            next=start,
        )
        return replace(position, next_offset=start, witness=None)
    gap = await offsets.book_replaced(connection, position, topic_id)
    log.error("the log was replaced", source=position.source, gap=gap, at=position.next_offset)
    return Position(position.topic, position.generation + 1, position.partition, topic_id, 0, None)


LOG_ERRORS = (KafkaError,)
"""What proving raises when Kafka can't be asked now: wait and prove again. A plain TimeoutError is
the database's."""
