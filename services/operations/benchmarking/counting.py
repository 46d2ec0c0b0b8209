"""What the database counted since a run began, and whether it is what was sent."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from services.common.settings import Settings
from services.storage.balance import read_balance
from services.storage.figures import messages_consumed, read_figures
from services.storage.pool import connect

POLL_S = 0.05
STALLED_S = 60.0

Progress = Callable[[int], None]


class BenchError(Exception):
    """A run that proves nothing: rows are missing, the ledger does not balance, or it stalled."""


@dataclass
class Timeline:
    """How many messages were sent and stored by which second of a run."""

    seconds: list[float] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)

    def add(self, seconds: float, sent: int, stored: int) -> None:
        """Take in what was counted at one moment."""
        self.seconds.append(round(seconds, 3))
        self.sent.append(sent)
        self.stored.append(stored)

    @property
    def first_stored_s(self) -> float:
        """When the first commit was seen; 0 when none was."""
        seen = zip(self.seconds, self.stored, strict=True)
        return next((second for second, stored in seen if stored), 0.0)

    @property
    def steady_per_s(self) -> float:
        """Messages a second from the first commit that was seen to the last one, without it."""
        found = [(s, n) for s, n in zip(self.seconds, self.stored, strict=True) if n]
        if len(found) < 2 or found[-1][0] <= found[0][0]:  # noqa: PLR2004 -- a slope takes two
            return 0.0
        (began, first), (ended, last) = found[0], found[-1]
        return (last - first) / (ended - began)


class Counters:
    """Counts from where the ledger stood when the run began."""

    def __init__(self, connection: asyncpg.Connection, consumed: int, rows: int) -> None:
        self._connection = connection
        self._consumed_before = consumed
        self._rows_before = rows

    async def consumed(self) -> int:
        """Return how many messages were stored or refused."""
        return await messages_consumed(self._connection) - self._consumed_before

    async def until_consumed(
        self, wanted: int, sent: Callable[[], int], progress: Progress
    ) -> Timeline:
        """Wait for the commit of the last message. Raises ``BenchError`` when nothing moves.

        ``sent`` tells how many were published by now.
        """
        timeline, done = Timeline(), 0
        began = moved_at = time.monotonic()
        while True:
            counted, now = await self.consumed(), time.monotonic()
            timeline.add(now - began, sent(), counted)
            if counted != done:
                done, moved_at = counted, now
                progress(done)
            if done >= wanted:
                return timeline
            if now - moved_at > STALLED_S:
                raise BenchError(f"nothing moves; {wanted - done} messages are missing")
            await asyncio.sleep(POLL_S)

    async def verify(self, rows: int) -> None:
        """Hold the rows that are really there, and the ledger, against what was sent."""
        balance = (await read_balance(self._connection)).as_json(None)
        if not balance["balanced"]:
            raise BenchError(f"the ledger does not balance: {balance['equations']}")
        found = balance["recount"]["rows"] - self._rows_before
        if found != rows:
            raise BenchError(f"{found} rows stored where {rows} were due")


@asynccontextmanager
async def counters(settings: Settings) -> AsyncIterator[Counters]:
    """Begin to count, over a connection of our own."""
    connection = await connect(settings, "read")
    try:
        booked = (await read_figures(connection)).rows
        yield Counters(connection, await messages_consumed(connection), sum(booked.values()))
    finally:
        await connection.close()
