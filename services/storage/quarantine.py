"""Quarantine: the bytes of a message once, the message once, an item for each refusal."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from schemas.outcomes import MessageOutcome, Outcome
from services.storage.batches import Arrival, Refused, Tally
from services.storage.queries import query
from services.storage.texts import KEY_LIMIT, storable

MessageKey = tuple[str, int, int, int]


async def make(connection: asyncpg.Connection, refused: Sequence[Refused], tally: Tally) -> None:
    """Store refusals as items and count them."""
    if not refused:
        return
    arrivals = {_key(one.arrival): one.arrival for one in refused}
    ids = await _messages(connection, arrivals)
    rows = [_item(ids[_key(one.arrival)], one) for one in refused]
    await connection.execute(query("quarantine.add_items"), *map(list, zip(*rows, strict=True)))
    for one in refused:
        tally.quarantine[one.arrival.source, "made"] += 1
        tally.quarantine[one.arrival.source, "open"] += 1


def count(tally: Tally, refused: Sequence[Refused]) -> None:
    """Count refusals among messages and readings."""
    for one in refused:
        if one.reading is None:
            tally.message(one.arrival, MessageOutcome.UNDECODABLE, one.refusal.reason.value)
        else:
            tally.reading(
                one.arrival, one.reading.kind, Outcome.QUARANTINED, one.refusal.reason.value
            )


async def _messages(
    connection: asyncpg.Connection, arrivals: dict[MessageKey, Arrival]
) -> dict[MessageKey, int]:
    """Return the message row of each arrival, made where there is none (a replay has one)."""
    ids = await _known(connection, list(arrivals))
    new = {key: arrival for key, arrival in sorted(arrivals.items()) if key not in ids}
    if new:
        digests = await keep_payloads(connection, [one.payload for one in new.values()])
        numbers = await connection.fetch(query("quarantine.message_ids"), len(new))
        rows = [
            _message(number["nextval"], arrival, digest)
            for number, arrival, digest in zip(numbers, new.values(), digests, strict=True)
        ]
        await connection.execute(
            query("quarantine.add_messages"), *map(list, zip(*rows, strict=True))
        )
        ids.update({key: row[0] for key, row in zip(new, rows, strict=True)})
    return ids


async def _known(
    connection: asyncpg.Connection, keys: Sequence[MessageKey]
) -> dict[MessageKey, int]:
    found = await connection.fetch(
        query("quarantine.known_messages"), *map(list, zip(*keys, strict=True))
    )
    return {
        (r["topic"], r["generation"], r["partition"], r["kafka_offset"]): r["message_id"]
        for r in found
    }


async def keep_payloads(connection: asyncpg.Connection, payloads: Sequence[bytes]) -> list[bytes]:
    """Store payloads once each and return their digests; sorted, so that writers don't deadlock."""
    digests = [hashlib.sha256(payload).digest() for payload in payloads]
    rows = sorted(dict(zip(digests, payloads, strict=True)).items())
    await connection.execute(query("quarantine.add_payloads"), *map(list, zip(*rows, strict=True)))
    return digests


def _key(arrival: Arrival) -> MessageKey:
    return arrival.topic, arrival.generation, arrival.partition, arrival.offset


def _message(message_id: int, arrival: Arrival, digest: bytes) -> tuple[Any, ...]:
    return (
        message_id, *_key(arrival), arrival.received_at, storable(arrival.mqtt_topic),
        _storable(arrival.oversize), _storable(arrival.refused), digest,
    )  # fmt: skip


def _item(message_id: int, one: Refused) -> tuple[Any, ...]:
    refusal, reading = one.refusal, one.reading
    said = (
        (reading.position, reading.kind, storable(reading.device_id, KEY_LIMIT),
         storable(reading.part), reading.time)
        if reading else (None, None, None, None, None)
    )  # fmt: skip
    return (
        message_id, one.arrival.source, said[0], refusal.reason.value, storable(refusal.detail),
        _storable(refusal.path), refusal.position, *said[1:],
    )  # fmt: skip


def _storable(text: str | None) -> str | None:
    return None if text is None else storable(text)


@dataclass(frozen=True, slots=True)
class Closing:
    """How items end: ``replayed`` or ``discarded``, by whom, why, and with which mended bytes."""

    state: str
    who: str
    note: str | None = None
    mended: bytes | None = None


async def close(
    connection: asyncpg.Connection, items: Sequence[int], closing: Closing, tally: Tally
) -> int:
    """Close those of the items that are open, count it, and return how many it were."""
    mended = closing.mended
    digest = (await keep_payloads(connection, [mended]))[0] if mended is not None else None
    closed = await connection.fetch(
        query("quarantine.close"), items, closing.state, closing.who, closing.note, digest
    )
    for row in closed:
        tally.quarantine[row["source"], "open"] -= 1
        tally.quarantine[row["source"], closing.state] += 1
    return len(closed)
