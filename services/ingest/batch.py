"""Kafka records in, one batch for the database out: decoded, judged, counted."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
from aiokafka import ConsumerRecord

from schemas.messages import Decoded, Liveness, Message, Reading, Result
from schemas.outcomes import MessageOutcome
from services.decoding.detect import decode_batch
from services.decoding.judging import judge
from services.ingest.devices import Devices
from services.ingest.log import witness_of
from services.storage.batches import Arrival, Batch, Copy, Refused, Span, hour_of
from services.storage.offsets import Position

Records = Mapping[int, Sequence[ConsumerRecord]]
"""Records by partition, offsets without a hole."""


async def assemble(
    records: Records,
    positions: Mapping[int, Position],
    devices: Devices,
    connection: asyncpg.Connection,
    future_tolerance: timedelta,
) -> Batch:
    """Turn records into a batch.

    1. decode every message; 2. look up the devices that nobody knows yet; 3. judge every reading;
    4. count: what decoding yielded before any write, messages by outcome.
    """
    arrivals = _arrivals(records, positions)
    results = decode_batch([_message(arrival) for arrival in arrivals])
    await devices.look_up(connection, _device_ids(results))
    batch = Batch(spans=_spans(records, positions))
    _count_qos0(batch, records, positions)
    for arrival, result in zip(arrivals, results, strict=True):
        take(batch, arrival, result, devices, future_tolerance)
    return batch


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


def _arrivals(records: Records, positions: Mapping[int, Position]) -> list[Arrival]:
    """Messages in the order of partition and offset, which is the order in which they fold."""
    return [
        _arrival(record, positions[partition])
        for partition in sorted(records)
        for record in records[partition]
    ]


def _arrival(record: ConsumerRecord, position: Position) -> Arrival:
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


def _spans(records: Records, positions: Mapping[int, Position]) -> list[Span]:
    return [
        Span(
            positions[partition].topic,
            positions[partition].generation,
            partition,
            positions[partition].next_offset,
            records[partition][-1].offset + 1,
            witness_of(records[partition][-1]),
        )
        for partition in sorted(records)
    ]


def _count_qos0(batch: Batch, records: Records, positions: Mapping[int, Position]) -> None:
    for partition, found in records.items():
        n = sum(("qos", b"0") in record.headers for record in found)
        if n:
            batch.tally.qos0[positions[partition].source] += n
