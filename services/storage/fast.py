"""The short cut into the tables for readings that came as columns: no Python object a row.

It writes only what is new. Whatever is more than that (two readings of one identity, one that is
stored already, one that PostgreSQL refuses) is handed back as single copies, to go the readable way
of ``writing``; so every rule stands in one place.
"""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import compress
from operator import itemgetter

import asyncpg
import numpy as np

from schemas.outcomes import Outcome
from services.storage.batches import Batch, Copy, Messages, Packed, Row
from services.storage.failures import REFUSALS, UnavailableError, is_rejection
from services.storage.packing import COLUMNS, Block, copy_stream
from services.storage.queries import query
from services.storage.tables import COPY_TIMEOUT_S, Table
from services.storage.writing import CLEAN_BATCHES, Work, remember

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Identity = tuple[bytes, bytes, int]


async def write_fast(
    table: Table, batch: Batch, copies: Sequence[Copy], work: Work
) -> tuple[list[Packed], list[Copy]]:
    """Write what is new among a kind's packed readings; return what was written, and the rest.

    1. Every reading whose identity occurs twice in the batch goes the readable way, with all
       readings of that identity, so that they are folded in their order;
    2. plain COPY, in a savepoint: all are new, or none is written;
    3. through staging otherwise: what is new is written, what is known goes the readable way;
    4. all of it goes the readable way where PostgreSQL refuses the data.
    """
    messages = _messages(batch)
    packed, twice = _apart(batch.packed.get(table.kind, []), copies)
    if not packed:
        return [], messages.unpack(twice)
    try:
        async with table.connection.transaction():
            written, known = await _write(table, packed, messages, work)
    except REFUSALS as error:
        if not is_rejection(error):
            raise
        written, known = [], [row for each in packed for row in each.rows]
    return written, messages.unpack(sorted([*twice, *known]))


def count_fast(batch: Batch, written: Sequence[Packed]) -> None:
    """Count written readings: outcomes by source and hour of receipt, rows by day, hours."""
    messages, tally = _messages(batch), batch.tally
    for packed in written:
        books = list(map(messages.books.__getitem__, map(itemgetter(0), packed.rows)))
        for book, n in Counter(books).items():
            source, hour = messages.keys[book]
            tally.readings[source, hour, packed.kind, Outcome.WRITTEN.value, ""] += n
        times = np.array(packed.times_us)
        for (book, day), n in Counter(zip(books, (times // DAY_US).tolist(), strict=True)).items():
            date = (EPOCH + timedelta(days=day)).date()
            tally.stored[messages.keys[book][0], packed.kind, date] += n
        for hour_number in set((times // HOUR_US).tolist()):
            tally.hours.add((packed.kind, EPOCH + timedelta(hours=hour_number)))


def _messages(batch: Batch) -> Messages:
    if batch.messages is None:
        message = "packed readings without the messages that brought them"
        raise ValueError(message)
    return batch.messages


def _apart(found: Sequence[Packed], copies: Sequence[Copy]) -> tuple[list[Packed], list[Row]]:
    """Set readings apart whose identity occurs twice, among themselves or beside single copies."""
    identities = [identity for packed in found for identity in packed.identities()]
    shared: set[Identity] = set()
    if len(set(identities)) != len(identities):
        shared = {identity for identity, n in Counter(identities).items() if n > 1}
    if copies:
        shared |= _identities(copies).intersection(identities)
    return _split(found, shared) if shared else (list(found), [])


def _identities(copies: Sequence[Copy]) -> set[Identity]:
    return {
        (one.reading.device_id.encode(), one.reading.part.encode("utf-8", "surrogatepass"),
         (one.reading.time - EPOCH) // timedelta(microseconds=1))
        for one in copies if one.reading.time is not None
    }  # fmt: skip


def _split(found: Sequence[Packed], apart: Collection[Identity]) -> tuple[list[Packed], list[Row]]:
    kept, rows = [], []
    for packed in found:
        marks = [identity in apart for identity in packed.identities()]
        rows += list(compress(packed.rows, marks))
        rest = packed.keep([not mark for mark in marks])
        kept += [rest] if rest.rows else []
    return kept, rows


async def _write(
    table: Table, packed: Sequence[Packed], messages: Messages, work: Work
) -> tuple[list[Packed], list[Row]]:
    if work.paths.staging[table.kind] <= 0:
        try:
            async with table.connection.transaction():
                await _copy(table, table.name, packed, messages, work)
                return list(packed), []
        except asyncpg.UniqueViolationError:
            work.paths.staging[table.kind] = CLEAN_BATCHES
    return await _through_stage(table, packed, messages, work)


async def _through_stage(
    table: Table, packed: Sequence[Packed], messages: Messages, work: Work
) -> tuple[list[Packed], list[Row]]:
    await table.clear_stage()
    await _copy(table, f"stage_{table.name}", packed, messages, work)
    columns = ", ".join((*COLUMNS, *_channels(table, packed)))
    found = await table.connection.fetchrow(
        query("readings.insert_new_columns", table=table.name, columns=columns)
    )
    inserted = _returned(found)
    known = {
        identity for each in packed for identity in each.identities() if identity not in inserted
    }
    remember(work.paths, table.kind, known=bool(known))
    return _split(packed, known) if known else (list(packed), [])


def _returned(found: asyncpg.Record | None) -> set[Identity]:
    if found is None or found["device_ids"] is None:
        return set()
    device_ids = (each.encode() for each in found["device_ids"])
    parts = (each.encode() for each in found["parts"])
    return set(zip(device_ids, parts, found["times_us"], strict=True))


async def _copy(
    table: Table, into: str, packed: Sequence[Packed], messages: Messages, work: Work
) -> None:
    channels = _channels(table, packed)
    blocks = [block for each in packed for block in _blocks(each, messages)]

    async def stream() -> AsyncIterator[bytes]:
        for piece in copy_stream(blocks, channels, work.batch_id):
            yield piece

    done = await table.connection.copy_to_table(
        into, source=stream(), columns=(*COLUMNS, *channels), format="binary",
        timeout=COPY_TIMEOUT_S,
    )  # fmt: skip
    n = sum(len(each.rows) for each in packed)
    if done != f"COPY {n}":
        message = f"{done} where {n} rows were sent"
        raise UnavailableError(message)


def _channels(table: Table, packed: Sequence[Packed]) -> list[str]:
    used = {channel for each in packed for channel in each.channels}
    return [channel for channel in table.channels if channel in used]


def _blocks(packed: Packed, messages: Messages) -> Iterator[Block]:
    """Yield the readings in blocks of one length of device id and part."""
    lengths = list(zip(map(len, packed.device_ids), map(len, packed.parts), strict=True))
    different = set(lengths)
    for length in different:
        one = packed
        if len(different) > 1:
            one = packed.keep([each == length for each in lengths])
        at = [message for message, _ in one.rows]
        yield Block(
            one.device_ids, one.parts, one.times_us, [messages.received_us[i] for i in at],
            [messages.partitions[i] for i in at], [messages.offsets[i] for i in at],
            one.intervals, one.channels, one.values,
        )  # fmt: skip
