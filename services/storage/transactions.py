"""One batch, one transaction: the only commit point of the platform."""

from collections.abc import Sequence

import asyncpg

from schemas.outcomes import Outcome
from services.storage import books, offsets, quarantine
from services.storage.batches import Batch, Copy, Refused, hour_of
from services.storage.fast import count_fast, write_fast
from services.storage.folding import Fate
from services.storage.queries import query
from services.storage.tables import Table
from services.storage.writing import Paths, Work, write


async def store(connection: asyncpg.Connection, batch: Batch, paths: Paths) -> None:
    """Store a batch whole or not at all.

    1. the fence: offsets move only from where the batch begins;
    2. readings, one kind after the other;
    3. refusals become quarantine items;
    4. the books: ledger, batch, changed hours;
    5. commit. Nothing of it is visible before, all of it after.
    """
    working = batch.copy()  # a batch that is tried again must not count what was rolled back
    async with connection.transaction():
        if working.spans:
            await offsets.move(connection, working.spans)
        batch_id = await next_batch_id(connection)
        await store_readings(connection, working, Work(batch_id, paths))
        await books.keep(connection, working, batch_id)


async def next_batch_id(connection: asyncpg.Connection) -> int:
    """Return the number of a new batch."""
    batch_id: int = await connection.fetchval(query("offsets.batch_id"))
    return batch_id


async def store_readings(connection: asyncpg.Connection, batch: Batch, work: Work) -> None:
    """Do steps 2 and 3 inside the caller's transaction, and count."""
    fates = await write_readings(connection, batch, work)
    await settle(connection, batch, fates)


async def write_readings(connection: asyncpg.Connection, batch: Batch, work: Work) -> list[Fate]:
    """Write a batch's readings, kind by kind, and return what became of each single copy.

    Packed readings that are new are counted here; single copies are not counted at all.
    """
    fates: list[Fate] = []
    for kind in sorted({*batch.copies, *batch.packed}):
        table, copies = Table(connection, kind), batch.copies.get(kind, [])
        if batch.packed.get(kind):
            written, rest = await write_fast(table, batch, copies, work)
            count_fast(batch, written)
            copies = sorted([*copies, *rest], key=_order)
        if copies:
            fates += await write(table, copies, work)
    return fates


def _order(copy: Copy) -> tuple[int, int, int]:
    """Copies fold in the order of partition, offset and position."""
    return copy.arrival.partition, copy.arrival.offset, copy.reading.position


async def settle(connection: asyncpg.Connection, batch: Batch, fates: Sequence[Fate]) -> None:
    """Quarantine what was refused, by decoding or in writing, and count what became of the rest."""
    refused = batch.refused + [
        Refused(fate.copy.arrival, fate.refusal, fate.copy.reading)
        for fate in fates
        if fate.refusal is not None
    ]
    quarantine.count(batch.tally, refused)
    await quarantine.make(connection, refused, batch.tally)
    for fate in fates:
        if fate.refusal is None:
            _count(batch, fate.copy, fate.outcome)


def _count(batch: Batch, copy: Copy, outcome: Outcome) -> None:
    """Count an outcome; a row that is new or changed marks its hour."""
    reading, arrival, tally = copy.reading, copy.arrival, batch.tally
    tally.reading(arrival, reading.kind, outcome)
    if outcome is Outcome.DUPLICATE or reading.time is None:
        return
    tally.hours.add((reading.kind, hour_of(reading.time)))
    if outcome is Outcome.WRITTEN:
        tally.stored[arrival.source, reading.kind, reading.time.date()] += 1
