"""A city under a steady load for a long time, while its parts are killed, frozen and stopped.

Mosquitto is spared: what it acknowledged and lost when killed is allowed to be gone, so that rows
could no longer be held against messages. `test_kills` and the drill kill it.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from services.common.publisher import Publisher
from services.operations.accounting import account
from services.operations.benchmarking.pacing import publish_at
from services.operations.benchmarking.running import publisher
from services.operations.benchmarking.scenarios import Message
from services.operations.benchmarking.watching import resident
from services.operations.local.scratch import Scratch
from services.operations.stack.server import Server
from services.operations.watching.database_look import DatabaseLook
from services.storage.figures import Figures

KILLED = ("gateway-0", "ingest-0", "ingest-1", "kafka", "postgresql")
FROZEN = ("gateway-0", "ingest-0", "kafka", "postgresql")
AWAY_S = (2.0, 8.0)
"""How long something is frozen or stopped."""
BETWEEN_S = (8.0, 20.0)
"""How long the city goes on in peace after it caught up."""
SAMPLE_S = 1.0

Fault = tuple[str, str]
"""What is done, and to which process."""


def faults(chance: Random) -> Iterator[Fault]:
    """Yield faults without end: all of them in a new order each time."""
    every = [("kill", name) for name in KILLED] + [("freeze", name) for name in FROZEN]
    every.append(("stop", "postgresql"))
    while True:
        yield from chance.sample(every, len(every))


async def inflict(server: Server, what: str, away_s: float) -> None:
    """Do it, and undo it: afterwards the process runs, though it may not be ready yet."""
    if what == "freeze":
        await asyncio.to_thread(server.pause)
        await asyncio.sleep(away_s)
        await asyncio.to_thread(server.resume)
        return
    if what == "kill":
        await asyncio.to_thread(server.kill)
    else:
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(away_s)
    await asyncio.to_thread(server.launch)


@dataclass
class Watched:
    """What was seen each second: messages that are no rows yet, and memory of each process."""

    began: float = field(default_factory=time.monotonic)
    lag: list[tuple[float, int]] = field(default_factory=list)
    memory: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def peak(self, name: str, start_s: float, end_s: float) -> int:
        """Return the highest memory of a process between two seconds."""
        of_name = self.memory[name]
        return max((n for at, n in of_name if start_s <= at < end_s), default=0)

    @property
    def highest_lag(self) -> int:
        """Return the most messages that ever waited."""
        return max((n for _, n in self.lag), default=0)


class Soak:
    """A load that flows; who holds it injects faults, and asks how far the rows are behind."""

    def __init__(self, city: Scratch, client: Publisher) -> None:
        self.city = city
        self.client = client
        self.watched = Watched()
        self._look = DatabaseLook(city.settings)
        self._rows_before = 0
        self.stop = asyncio.Event()
        self.load: asyncio.Task[None] | None = None

    async def finish(self, timeout_s: float) -> None:
        """Publish nothing more, and wait until all that was acknowledged is a row."""
        self.stop.set()
        if self.load is not None:
            await self.load
        await self.client.drain(timeout_s)
        await self.until_behind_at_most(0, timeout_s)

    async def begin(self) -> None:
        """Note where the tables stand before the first message."""
        self._rows_before = await self._rows() or 0

    def end(self) -> None:
        """Let go of the database."""
        self._look.close()

    async def lag(self) -> int | None:
        """Return acknowledged messages that are no rows; None while the database is away.

        By the books of rows: copies that come twice after a kill make none.
        """
        rows = await self._rows()
        return None if rows is None else self.client.acknowledged - (rows - self._rows_before)

    async def until_behind_at_most(self, messages: float, timeout_s: float) -> float:
        """Wait until the rows have caught up; return the seconds that took, or fail."""
        began = time.monotonic()
        while (behind := await self.lag()) is None or behind > messages:
            taken = time.monotonic() - began
            assert taken < timeout_s, f"{behind} messages behind after {taken:.0f} s"
            await asyncio.sleep(0.2)
        return time.monotonic() - began

    async def balance(self) -> dict[str, Any]:
        """Return the ledger, everything counted again; it holds."""
        found = (await account(self.city.settings)).balance.as_json(None)
        assert found["balanced"], found
        return found

    async def watch(self) -> None:
        """Keep looking, until cancelled."""
        while True:
            at = time.monotonic() - self.watched.began
            behind = await self.lag()
            if behind is not None:
                self.watched.lag.append((at, behind))
            for name, server in self.city.processes.items():
                if server.is_running:
                    of_name = self.watched.memory.setdefault(name, [])
                    of_name.append((at, resident(server.pid)))
            await asyncio.sleep(SAMPLE_S)

    async def _rows(self) -> int | None:
        found = await self._look.figures()
        return sum(found.rows.values()) if isinstance(found, Figures) else None


@asynccontextmanager
async def soaked(city: Scratch, messages: Iterator[Message], per_s: float) -> AsyncIterator[Soak]:
    """Publish at a steady rate while the context is open, or until the soak is finished."""
    async with publisher(city.settings) as client:
        soak = Soak(city, client)
        await soak.begin()
        going = itertools.takewhile(lambda _message: not soak.stop.is_set(), messages)
        tasks = [
            asyncio.create_task(publish_at(client, going, per_s), name="load"),
            asyncio.create_task(soak.watch(), name="watch"),
        ]
        soak.load = tasks[0]
        try:
            yield soak
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            soak.end()
            for task in tasks:
                _raise_failure(task)


def _raise_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.result()


async def until_ready(city: Scratch, timeout_s: float) -> None:
    """Wait until every process answers."""
    for server in city.processes.values():
        await asyncio.to_thread(server.wait_ready, timeout_s)
