"""Kafka records in, one batch for the database out: decoded, judged, counted.

Two ways lead there. What is plain goes as columns (`decoding.columns`), hundreds of messages at
once; everything else is decoded and judged one after the other. Both end in the same counts.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter

import asyncpg

from schemas.messages import Decoded, Liveness, Message, Reading, Result
from schemas.outcomes import MessageOutcome
from services.decoding import columns
from services.decoding.columns import Columns
from services.decoding.detect import decode_batch
from services.decoding.judging import judge
from services.ingest.devices import Devices
from services.ingest.log import witness_of
from services.ingest.record_columns import Record, Records, headers_of
from services.storage.batches import (
    Arrival,
    Batch,
    Copy,
    Messages,
    Packed,
    Refused,
    Row,
    Span,
    hour_of,
)
from services.storage.offsets import Position

Fetched = Mapping[int, Records]
"""Records by partition, offsets without a hole."""

QOS_0 = ("qos", b"0")
PLAIN_HEADERS = 5
"""What the gateway adds to every message; one more says why a payload is missing."""
HOUR_MS = 3_600_000
SLICE = 1024
"""Messages that are read before the loop goes round."""


async def assemble(
    records: Fetched,
    positions: Mapping[int, Position],
    devices: Devices,
    connection: asyncpg.Connection,
    future_tolerance: timedelta,
) -> Batch:
    """Turn records into a batch.

    1. read what is plain as columns; 2. decode the rest message by message; 3. look up the devices
    that nobody knows yet; 4. judge every reading of the rest; 5. count: what decoding yielded
    before any write, messages by outcome.
    """
    return await (await prepare(records, positions, devices, future_tolerance)).finish(connection)


@dataclass(frozen=True, slots=True)
class Incoming:
    """The records of a batch as one list, in the order of partition and offset."""

    records: Records
    partitions: list[int]
    positions: Mapping[int, Position]
    devices: Devices
    future_tolerance: timedelta

    def messages(self) -> Messages:
        """Say where each stands, and under which source and hour of receipt it is counted."""
        keys: dict[tuple[int, int], int] = {}
        hours = {each: each // HOUR_MS for each in set(self.records.timestamps)}
        if len(set(hours.values())) == 1:
            hour = next(iter(hours.values()))
            places = {
                each: keys.setdefault((each, hour), len(keys)) for each in set(self.partitions)
            }
            books = list(map(places.__getitem__, self.partitions))
        else:
            books = [
                keys.setdefault((partition, hours[timestamp]), len(keys))
                for partition, timestamp in zip(
                    self.partitions, self.records.timestamps, strict=True
                )
            ]
        return Messages(
            self.partitions,
            self.records.offsets,
            [timestamp * 1000 for timestamp in self.records.timestamps],
            books,
            [(self.positions[partition].source, datetime.fromtimestamp(hour * 3600, UTC))
             for partition, hour in keys],
            self.unpack,
        )  # fmt: skip

    def read_columns(
        self, start: int, stop: int, received_us: Sequence[int]
    ) -> tuple[list[Columns], list[int]]:
        """Read what is plain among some records; return it, and the indexes of what is not."""
        records, route, known = self.records, self.devices.route, self.devices.routes
        headers, keys = records.headers[start:stop], records.keys[start:stop]
        routes = [known.get(key or b"") for key in keys]
        if not all(routes):
            routes = [found or route(key) for found, key in zip(routes, keys, strict=True)]
        special = {each for each in set(headers) if len(headers_of(each)) != PLAIN_HEADERS}
        if special:
            routes = [
                None if block in special else route
                for block, route in zip(headers, routes, strict=True)
            ]
        return columns.read(
            [value or b"" for value in records.values[start:stop]],
            routes,
            received_us[start:stop],
            self.future_tolerance // timedelta(microseconds=1),
            first=start,
        )

    def arrival(self, index: int) -> Arrival:
        """Return where one message came from."""
        return _arrival(self.records.record(index), self.positions[self.partitions[index]])

    def unpack(self, rows: Sequence[Row]) -> list[Copy]:
        """Read single messages again, the readable way, and return the wanted readings."""
        wanted: dict[int, set[int]] = {}
        for message, position in rows:
            wanted.setdefault(message, set()).add(position)
        batch = Batch()
        arrivals = [self.arrival(index) for index in sorted(wanted)]
        results = decode_batch([_message(arrival) for arrival in arrivals])
        for arrival, result in zip(arrivals, results, strict=True):
            take(batch, arrival, result, self.devices, self.future_tolerance)
        places = {
            (arrival.partition, arrival.offset): wanted[index]
            for index, arrival in zip(sorted(wanted), arrivals, strict=True)
        }
        copies = [
            copy
            for of_kind in batch.copies.values()
            for copy in of_kind
            if copy.reading.position in places[copy.arrival.partition, copy.arrival.offset]
        ]
        if len(copies) != len(rows):
            raise ValueError(f"{len(rows)} readings were plain, {len(copies)} are sound now")
        return copies


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch of which all that needs no database is done; ``left`` is to be read singly."""

    batch: Batch
    incoming: Incoming
    left: list[int]

    async def finish(self, connection: asyncpg.Connection) -> Batch:
        """Read the rest message by message, with the registry at hand, and return the batch."""
        incoming, devices = self.incoming, self.incoming.devices
        arrivals = [incoming.arrival(index) for index in self.left]
        results = decode_batch([_message(arrival) for arrival in arrivals])
        await devices.look_up(connection, _device_ids(results))
        for arrival, result in zip(arrivals, results, strict=True):
            take(self.batch, arrival, result, devices, incoming.future_tolerance)
        return self.batch


async def prepare(
    records: Fetched,
    positions: Mapping[int, Position],
    devices: Devices,
    future_tolerance: timedelta,
) -> Prepared:
    """Read what is plain, without the database: the batch before may still be written meanwhile.

    Between slices the loop goes round, so that its writing never waits for more than one of them.
    """
    flat, partitions = Records(), list[int]()
    for partition in sorted(records):
        flat.extend(records[partition])
        partitions += [partition] * len(records[partition])
    incoming = Incoming(flat, partitions, dict(positions), devices, future_tolerance)
    messages = incoming.messages()
    batch = Batch(spans=_spans(records, positions), messages=messages)
    left: list[int] = []
    for start in range(0, len(flat), SLICE):
        found, others = incoming.read_columns(start, start + SLICE, messages.received_us)
        _take_columns(batch, found)
        left += others
        await asyncio.sleep(0)
    _count_decoded(batch, set(left))
    _count_qos0(batch, records, positions)
    return Prepared(batch, incoming, left)


def _take_columns(batch: Batch, found: Iterable[Columns]) -> None:
    """Add columns to a batch, and count what decoding yielded."""
    messages, tally = batch.messages, batch.tally
    if messages is None:
        return
    for one in found:
        packed = Packed(
            one.kind, one.channels, one.rows, [route.device_id_bytes for route in one.routes],
            [b""] * len(one.rows) if one.parts is None else [part.encode() for part in one.parts],
            one.times_us, one.intervals, one.values,
        )  # fmt: skip
        batch.packed.setdefault(one.kind, []).append(packed)
        books = map(messages.books.__getitem__, map(itemgetter(0), one.rows))
        for book, n in Counter(books).items():
            source, hour = messages.keys[book]
            tally.readings[source, hour, one.kind, "decoded", ""] += n


def _count_decoded(batch: Batch, left: set[int]) -> None:
    """Count the messages that were read as columns."""
    if batch.messages is None:
        return
    books = batch.messages.books
    if left:
        books = [book for index, book in enumerate(books) if index not in left]
    for book, n in Counter(books).items():
        source, hour = batch.messages.keys[book]
        batch.tally.messages[source, hour, MessageOutcome.DECODED.value, ""] += n


def take(
    batch: Batch,
    arrival: Arrival,
    result: Result,
    devices: Devices,
    future_tolerance: timedelta,
) -> None:
    """Add one decoded message to a batch."""
    match result:
        case Decoded(readings=readings):
            batch.tally.message(arrival, MessageOutcome.DECODED)
            for reading in readings:
                batch.tally.decoded(arrival, reading.kind)
                judge(
                    reading, devices.get(reading.device_id), arrival.received_at, future_tolerance
                )
                _place(batch, arrival, reading)
        case Liveness():
            batch.tally.message(arrival, MessageOutcome.LIVENESS)
        case _:
            batch.refused.append(Refused(arrival, result.refusal))


def _place(batch: Batch, arrival: Arrival, reading: Reading) -> None:
    if reading.refusal is None:
        batch.copies.setdefault(reading.kind, []).append(Copy(arrival, reading))
    else:
        batch.refused.append(Refused(arrival, reading.refusal, reading))


def _device_ids(results: Iterable[Result]) -> Iterable[str]:
    return (
        reading.device_id
        for result in results
        if isinstance(result, Decoded)
        for reading in result.readings
        if reading.refusal is None
    )


def _arrival(record: Record, position: Position) -> Arrival:
    headers = dict(record.headers)
    received_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    return Arrival(
        source=position.source,
        topic=position.topic,
        generation=position.generation,
        partition=position.partition,
        offset=record.offset,
        received_at=received_at,
        hour=hour_of(received_at),
        mqtt_topic=(record.key or b"").decode("utf-8", "replace"),
        payload=record.value or b"",
        oversize=_text(headers.get("oversize")),
        refused=_text(headers.get("refused")),
    )


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("utf-8", "replace")


def _message(arrival: Arrival) -> Message:
    return Message(
        arrival.mqtt_topic, arrival.payload, arrival.received_at, arrival.offset,
        arrival.oversize, arrival.refused,
    )  # fmt: skip


def _spans(records: Fetched, positions: Mapping[int, Position]) -> list[Span]:
    return [
        Span(
            positions[partition].topic,
            positions[partition].generation,
            partition,
            positions[partition].next_offset,
            records[partition].offsets[-1] + 1,
            witness_of(records[partition].record(-1)),
        )
        for partition in sorted(records)
    ]


def _count_qos0(batch: Batch, records: Fetched, positions: Mapping[int, Position]) -> None:
    for partition, found in records.items():
        for block, n in Counter(found.headers).items():
            if QOS_0 in headers_of(block):
                batch.tally.qos0[positions[partition].source] += n
