"""Fill a scratch database with readings by SQL alone, and ask it what a day's work asks.

For measuring growth. What is filled in is booked under a ledger source of its own, ``growth``, so
that the ledger balances and every recount holds; it has no messages and moves no offsets.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from services.storage.figures import read_figures
from services.storage.queries import query

BATCH_ROWS = 20_000
"""Rows that share a batch_id, as one batch of ingest would write them."""


@dataclass(frozen=True, slots=True)
class Filling:
    """Rows of the environmental hypertable: ``devices`` send in turn, every ``interval``.

    ``start`` is the time of the first round; a device is named ``prefix`` and six digits.
    """

    prefix: str
    devices: int
    start: datetime
    interval: timedelta

    def time_of(self, turn: int) -> datetime:
        """Return the time of a round of all devices."""
        return self.start + turn * self.interval


async def fill(
    connection: asyncpg.Connection, filling: Filling, first_turn: int, turns: int
) -> int:
    """Insert some rounds as the owner, book them, and return how many rows that is.

    One transaction: rows in the order of time, as they would have come, then their books.
    """
    rows = turns * filling.devices
    batches = -(-rows // BATCH_ROWS)
    async with connection.transaction():
        first_batch = await connection.fetchval(query("growth.reserve_batches"), batches)
        await connection.execute(
            query("growth.fill"), filling.prefix, filling.devices, filling.time_of(first_turn),
            filling.interval, turns, first_batch, BATCH_ROWS, timeout=None,
        )  # fmt: skip
        span = filling.time_of(first_turn), filling.time_of(first_turn + turns)
        await connection.execute(query("growth.book_rows"), first_batch, batches, *span)
        await connection.execute(query("growth.book_readings"), rows)
    return rows


async def settle(connection: asyncpg.Connection) -> None:
    """Do what autovacuum would have done meanwhile: statistics, and BRIN's new ranges."""
    await connection.execute(query("growth.vacuum"), timeout=None)


Question = Callable[[asyncpg.Connection], Awaitable[object]]


def questions(device: str, day: datetime, hour: datetime, batch_id: int) -> dict[str, Question]:
    """Return the questions of a day's work by name, each about one thing that is there."""
    next_day, next_hour = day + timedelta(days=1), hour + timedelta(hours=1)

    async def newest(connection: asyncpg.Connection) -> object:
        return await connection.fetchrow(query("growth.newest"), device)

    async def of_day(connection: asyncpg.Connection) -> object:
        return await connection.fetch(query("growth.day"), device, day, next_day)

    async def of_batch(connection: asyncpg.Connection) -> object:
        return await connection.fetch(query("growth.batch"), batch_id, hour, next_hour)

    return {
        "newest of a device": newest, "a device's day": of_day, "a batch's hour": of_batch,
        "ledger counters": read_figures,
    }  # fmt: skip


async def middle_batch(connection: asyncpg.Connection) -> tuple[int, datetime]:
    """Return a batch of the middle of what was filled in, and the hour of one of its rows."""
    row = await connection.fetchrow(query("growth.middle_batch"))
    if row is None:
        raise LookupError("nothing was filled in")
    hour: datetime = row["time"].astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return row["batch_id"], hour
