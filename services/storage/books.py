"""Keeping the books: what a batch adds to the ledger, in the transaction that it describes."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import asyncpg

from services.storage.batches import Batch, Span, Tally
from services.storage.queries import query


async def keep(connection: asyncpg.Connection, batch: Batch, batch_id: int) -> None:
    """Add a batch's counts to the ledger; keys sorted, so that two writers never wait in a ring."""
    tally = batch.tally
    await _add(connection, "books.add_messages", tally.messages)
    await _add(connection, "books.add_readings", tally.readings)
    await _add(connection, "books.add_stored", tally.stored)
    await _add(connection, "books.add_quarantine", tally.quarantine)
    await _book_batch(connection, batch, batch_id)
    if tally.hours:
        kinds, hours = zip(*sorted(tally.hours), strict=True)
        await connection.execute(query("books.add_changed_hours"), kinds, hours, batch_id)


async def count_quarantine(connection: asyncpg.Connection, tally: Tally) -> None:
    """Book only how items changed state, where no reading was touched."""
    await _add(connection, "books.add_quarantine", tally.quarantine)


async def _add(connection: asyncpg.Connection, name: str, counts: Counter[Any]) -> None:
    rows = [(*key, n) for key, n in sorted(counts.items()) if n]
    if rows:
        await connection.execute(query(name), *map(list, zip(*rows, strict=True)))


async def _book_batch(connection: asyncpg.Connection, batch: Batch, batch_id: int) -> None:
    spans = {span.source: span for span in batch.spans}
    sources = spans or dict.fromkeys(_sources(batch.tally))
    rows = [_batch_row(source, span, batch.tally) for source, span in sorted(sources.items())]
    if rows:
        await connection.execute(
            query("books.add_batch"), batch_id, *map(list, zip(*rows, strict=True))
        )


def _sources(tally: Tally) -> Iterable[str]:
    return {key[0] for key in tally.messages} | {key[0] for key in tally.readings}


def _batch_row(source: str, span: Span | None, tally: Tally) -> tuple[Any, ...]:
    messages = sum(n for key, n in tally.messages.items() if key[0] == source)
    decoded = sum(
        n for key, n in tally.readings.items() if key[0] == source and key[3] == "decoded"
    )
    first, following = (span.first_offset, span.next_offset) if span else (None, None)
    return source, first, following, messages, tally.qos0[source], decoded
