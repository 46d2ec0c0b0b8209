"""Quarantine as work: run a refused message again, let a conflict's values stand, or let go.

A replay decodes the whole message with today's code and registry and counts as source
``quarantine``. What is refused for the same reason again stays open and counts nothing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg

from schemas.messages import Decoded, Liveness, Message, Reading
from schemas.outcomes import MessageOutcome
from schemas.reasons import Reason
from services.common.settings import Settings
from services.decoding.detect import decode
from services.decoding.judging import Device, judge
from services.storage import books, quarantine, registry
from services.storage.batches import QUARANTINE, Arrival, Batch, Copy, Refused, hour_of
from services.storage.folding import Fate
from services.storage.quarantine import Closing
from services.storage.queries import query
from services.storage.transactions import next_batch_id, settle, write_readings
from services.storage.writing import Paths, Work

SWEEPER = "sweep"


class MendingError(Exception):
    """What was asked can't be done; the message says why and what to do instead."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How to run a message again: who asks, with which mended bytes, and whether values replace."""

    who: str
    mended: bytes | None = None
    replace_item: int | None = None
    note: str | None = None


@dataclass(slots=True)
class Replayed:
    """What a replay did: items closed, items still open with their reasons, readings by outcome."""

    closed: int = 0
    still_open: list[str] = field(default_factory=list)
    readings: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """What one replay will store, and which items hang on it."""

    batch: Batch
    of_message: asyncpg.Record | None
    """The item of the whole message, None where readings were refused."""
    of_reading: dict[int, asyncpg.Record]
    """Open items by the position of their reading."""
    settled: set[int]
    """Positions whose item is closed: mended, accepted or discarded, not to be done over."""
    closes: list[int] = field(default_factory=list)
    still_open: list[str] = field(default_factory=list)


async def replay_message(
    connection: asyncpg.Connection, settings: Settings, message_id: int, attempt: Attempt
) -> Replayed:
    """Run a quarantined message again, in one transaction.

    1. lock the message's row, so that two replays take turns;
    2. decode and judge the whole message with today's code and registry;
    3. store what is sound, save where an item was closed before; what is refused for another
       reason than before becomes a new item;
    4. close the items that this settles, and count. What stays as it was counts nothing.
    """
    async with connection.transaction():
        row = await connection.fetchrow(query("quarantine.lock_message"), message_id)
        if row is None:
            raise MendingError(f"there is no quarantined message {message_id}")
        items = await connection.fetch(query("quarantine.items_of"), message_id)
        plan = await _plan(connection, settings, row, items, attempt)
        return await _carry_out(connection, plan, attempt) if plan else Replayed()


async def _plan(
    connection: asyncpg.Connection,
    settings: Settings,
    row: asyncpg.Record,
    items: Sequence[asyncpg.Record],
    attempt: Attempt,
) -> Plan | None:
    """Decode and judge; None where no item is open."""
    waiting = [item for item in items if item["state"] == "open"]
    if not waiting:
        return None
    whole = next((item for item in waiting if item["position"] is None), None)
    by_position = {item["position"]: item for item in waiting if item["position"] is not None}
    settled = {item["position"] for item in items} - {None} - by_position.keys()
    plan = Plan(Batch(), whole, by_position, settled)
    arrival = _arrival(row, attempt.mended)
    result = decode(_message(arrival))
    match result:
        case Decoded(readings=readings):
            await _judge(connection, settings, arrival, readings)
            _sort_out(plan, arrival, readings, attempt)
        case Liveness():
            plan.batch.tally.message(arrival, MessageOutcome.LIVENESS)
            plan.closes += [item["item_id"] for item in waiting]
        case _:
            _refuse_whole(plan, Refused(arrival, result.refusal), attempt)
    return plan


def _refuse_whole(plan: Plan, refused: Refused, attempt: Attempt) -> None:
    """Leave items open; a message that today is refused for another reason gets a new item.

    Mended bytes that are refused say nothing of the message: they are simply not taken.
    """
    reason, former = refused.refusal.reason.value, plan.of_message
    if former is None or attempt.mended is not None or former["reason"] == reason:
        plan.still_open += [reason] * (len(plan.of_reading) or 1)
        return
    plan.batch.refused.append(refused)
    plan.closes.append(former["item_id"])


def _sort_out(plan: Plan, arrival: Arrival, readings: Sequence[Reading], attempt: Attempt) -> None:
    """Decide for each reading: store it, leave its item as it is, or refuse it anew."""
    if plan.of_message is not None:
        plan.batch.tally.message(arrival, MessageOutcome.DECODED)
        plan.closes.append(plan.of_message["item_id"])
    for reading in readings:
        if reading.position in plan.settled:
            continue
        item = plan.of_reading.get(reading.position)
        if attempt.replace_item is not None and (
            item is None or item["item_id"] != attempt.replace_item
        ):
            continue
        if reading.refusal is None:
            plan.batch.copies.setdefault(reading.kind, []).append(Copy(arrival, reading))
        elif item is not None and item["reason"] == reading.refusal.reason:
            plan.still_open.append(item["reason"])
        elif item is not None or plan.of_message is not None:
            plan.batch.tally.decoded(arrival, reading.kind)
            plan.batch.refused.append(Refused(arrival, reading.refusal, reading))
            plan.closes += [] if item is None else [item["item_id"]]
    if attempt.replace_item is None:
        yielded = {reading.position for reading in readings}
        plan.closes += [
            item["item_id"] for position, item in plan.of_reading.items() if position not in yielded
        ]


async def _carry_out(connection: asyncpg.Connection, plan: Plan, attempt: Attempt) -> Replayed:
    """Write, settle, close, count; all undone where no item closes."""
    batch, undo = plan.batch, connection.transaction()
    await undo.start()
    batch_id = await next_batch_id(connection)
    paths = Paths(dict.fromkeys(batch.copies, 1))  # the rows are likely there: no COPY to fail
    work = Work(batch_id, paths, replace=attempt.replace_item is not None)
    written = await write_readings(connection, batch, work)
    fates = [fate for fate in written if not _stays_refused(plan, fate)]
    for fate in fates:
        batch.tally.decoded(fate.copy.arrival, fate.copy.reading.kind)
        item = plan.of_reading.get(fate.copy.reading.position)
        plan.closes += [] if item is None else [item["item_id"]]
    if not plan.closes:
        await undo.rollback()
        return Replayed(still_open=plan.still_open)
    await settle(connection, batch, fates)
    closing = Closing("replayed", attempt.who, attempt.note, attempt.mended)
    closed = await quarantine.close(connection, plan.closes, closing, batch.tally)
    await books.keep(connection, batch, batch_id)
    await undo.commit()
    return Replayed(closed, plan.still_open, dict(Counter(fate.outcome.value for fate in fates)))


def _stays_refused(plan: Plan, fate: Fate) -> bool:
    """Whether writing refused a reading for the very reason for which its item is open."""
    item = plan.of_reading.get(fate.copy.reading.position)
    if item is None or fate.refusal is None or item["reason"] != fate.refusal.reason:
        return False
    plan.still_open.append(item["reason"])
    return True


async def _judge(
    connection: asyncpg.Connection,
    settings: Settings,
    arrival: Arrival,
    readings: Sequence[Reading],
) -> None:
    ids = sorted({reading.device_id for reading in readings})
    rows = await registry.judged_by(connection, device_ids=ids)
    devices = (
        Device(row["device_id"], row["device_type"], row["data_from"], settings.zone)
        for row in rows
    )
    known = {device.device_id: device for device in devices}
    tolerance = timedelta(seconds=settings.future_tolerance_s)
    for reading in readings:
        judge(reading, known.get(reading.device_id), arrival.received_at, tolerance)


def _arrival(row: asyncpg.Record, mended: bytes | None) -> Arrival:
    return Arrival(
        QUARANTINE, row["topic"], row["generation"], row["partition"], row["kafka_offset"],
        row["received_at"], hour_of(row["received_at"]), row["mqtt_topic"],
        row["payload"] if mended is None else mended,
        None if mended is not None else row["oversize"],
        None if mended is not None else row["refused"],
    )  # fmt: skip


def _message(arrival: Arrival) -> Message:
    return Message(
        arrival.mqtt_topic, arrival.payload, arrival.received_at, arrival.offset,
        arrival.oversize, arrival.refused,
    )  # fmt: skip


async def replay_registered(connection: asyncpg.Connection, settings: Settings, limit: int) -> int:
    """Replay messages whose device is registered now; return how many were looked at."""
    rows = await connection.fetch(query("quarantine.registered_since"), limit)
    for row in rows:
        await replay_message(connection, settings, row["message_id"], Attempt(SWEEPER))
    return len(rows)


async def item(connection: asyncpg.Connection, item_id: int) -> asyncpg.Record:
    """Return an item with its message and bytes."""
    row = await connection.fetchrow(query("quarantine.item"), item_id)
    if row is None:
        raise MendingError(f"there is no quarantine item {item_id} (see `quarantine list`)")
    return row


async def replay_item(
    connection: asyncpg.Connection, settings: Settings, item_id: int, attempt: Attempt
) -> Replayed:
    """Replay the message of an item; closed items stay closed and nothing is done."""
    found = await item(connection, item_id)
    return await replay_message(connection, settings, found["message_id"], attempt)


async def accept(
    connection: asyncpg.Connection, settings: Settings, item_id: int, who: str, note: str | None
) -> Replayed:
    """Let a conflict's new values replace the stored ones; the former go to the revisions."""
    found = await item(connection, item_id)
    if found["reason"] != Reason.CONFLICT or found["state"] != "open":
        raise MendingError(
            f"item {item_id} is {found['reason']}, {found['state']}: only an open conflict can be "
            "accepted"
        )
    attempt = Attempt(who, replace_item=item_id, note=note)
    return await replay_message(connection, settings, found["message_id"], attempt)


async def discard(
    connection: asyncpg.Connection, item_ids: Sequence[int], who: str, note: str
) -> int:
    """Close items for good, with the reason why; return how many were open."""
    async with connection.transaction():
        tally = Batch().tally
        closing = Closing("discarded", who, note)
        closed = await quarantine.close(connection, item_ids, closing, tally)
        await books.count_quarantine(connection, tally)
        return closed


async def select_open(
    connection: asyncpg.Connection,
    *,
    reason: str | None = None,
    device_id: str | None = None,
    limit: int = 100_000,
) -> list[int]:
    """Return the messages with open items of a reason or device, oldest first."""
    rows = await connection.fetch(query("quarantine.select_open"), reason, device_id, limit)
    return [row["message_id"] for row in rows]


async def list_items(
    connection: asyncpg.Connection,
    *,
    reason: str | None = None,
    device_id: str | None = None,
    state: str | None = "open",
    limit: int = 50,
) -> list[asyncpg.Record]:
    """Return items, newest first."""
    found = await connection.fetch(query("quarantine.list"), reason, device_id, state, limit)
    return list(found)
