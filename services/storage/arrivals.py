"""Which batch brought which row, and which batches are there: for measuring delays."""

from typing import NamedTuple

import asyncpg

from services.storage.queries import query


class Arrived(NamedTuple):
    """A stored reading (its time in epoch milliseconds) and the batch that stored it."""

    batch_id: int
    device_id: str
    time_ms: int


async def newest_batches(connection: asyncpg.Connection) -> list[int]:
    """Return the ids of the newest committed batches; a fraction of a millisecond."""
    return [row["batch_id"] for row in await connection.fetch(query("arrivals.newest_batches"))]


async def batches_of_rows(
    connection: asyncpg.Connection, kind: str, start_ms: int, end_ms: int
) -> list[Arrived]:
    """Return the rows of a kind whose time lies in [start, end), epoch milliseconds."""
    statement = query("arrivals.batches_of_rows", table=f"{kind}_readings")
    return [Arrived(*row) for row in await connection.fetch(statement, start_ms, end_ms)]
