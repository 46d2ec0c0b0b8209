"""One scenario under way: what it sends, what it says, what it finds, what may be missing."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from services.operations.drilling import questions
from services.operations.drilling.load import Load
from services.operations.drilling.readings import Row, Sent
from services.operations.drilling.result import Finding, Promise, Result
from services.operations.drilling.stage import Stage

LOAD_S, QUICK_LOAD_S = 5.0, 3.0
"""How long a load lasts by itself."""
SHIFT = 0.05
"""By how much of a load chance moves the moments of its faults."""
AT_ONCE = 50_000.0
"""Messages a second where nothing is to happen meanwhile."""

Place = tuple[int, int, int | None]
"""A gap as it must be booked: partition, first offset, and the next one there is (or unknown)."""


@dataclass
class Run:
    """A scenario being played on a stage.

    ``lost`` are rows that are gone and booked as such, ``may_be_lost`` rows that a broker which was
    killed may have forgotten; ``gaps`` are exactly those that must be booked. ``exactly_once`` says
    that nothing is redelivered, so that each of the ``refused`` messages makes one item;
    ``duplicates`` are how many copies must have been found, where that is known.
    """

    stage: Stage
    result: Result
    messages: int
    quick: bool
    tell: Callable[[str], None]
    chance: Random
    lost: set[Row] = field(default_factory=set)
    may_be_lost: set[Row] = field(default_factory=set)
    gaps: set[Place] = field(default_factory=set)
    exactly_once: bool = False
    refused: int = 0
    duplicates: int | None = None
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def say(self, what: str) -> None:
        """Tell what is done now."""
        self.tell(f"  · {what}")

    def found(self, promise: Promise, holds: bool, says: str) -> None:
        """Note whether a promise held."""
        self.result.findings.append(Finding(promise, holds, says))

    def readings(self, n: int) -> list[Sent]:
        """Return so many new readings."""
        return [self.stage.readings.sent(number) for number in self.stage.take_numbers(n)]

    @asynccontextmanager
    async def load(
        self, messages: Sequence[Sent] | None = None, *, rate: float | None = None
    ) -> AsyncIterator[Load]:
        """Publish messages while the context is open; afterwards each has its answer."""
        chosen = self.readings(self.messages) if messages is None else messages
        self._remember(chosen)
        rate = rate or len(chosen) / (QUICK_LOAD_S if self.quick else LOAD_S)
        client_id = f"drill-{self.stage.numbers_taken}"
        shift = self.chance.uniform(-SHIFT, SHIFT)
        async with Load(
            self.stage.settings, chosen, rate=rate, shift=shift, client_id=client_id
        ) as load:
            yield load
        self._book(load)

    async def settle(self) -> None:
        """Wait until all that was acknowledged is through: a last message is a row.

        The broker hands on in order, and the gateway acknowledges in order.
        """
        marker = self.readings(1)
        await self.publish(marker)
        last = marker[0].becomes

        async def is_through() -> bool:
            stored = isinstance(last, Row) and await questions.has(self.stage, last)
            return stored and (await self.stage.account()).in_flight == 0

        await self.stage.until(is_through, "the last message is a row and Kafka holds no more")

    async def publish(self, messages: Sequence[Sent]) -> None:
        """Publish messages as fast as the broker takes them."""
        async with self.load(messages, rate=AT_ONCE):
            pass

    def must_be_stored(self, rows: Collection[Row]) -> None:
        """Note readings that came another way than by a load."""
        self.stage.sent.update(rows)
        self.stage.due.update(rows)
        self.result.counts.acknowledged += len(rows)

    def _remember(self, messages: Sequence[Sent]) -> None:
        for each in messages:
            if isinstance(each.becomes, Row):
                self.stage.sent.add(each.becomes)

    def _book(self, load: Load) -> None:
        self.stage.due |= load.rows
        self.stage.refused |= load.refusals
        self.refused += len(load.refusals)
        counts = self.result.counts
        counts.acknowledged += load.answered
        counts.unmatched += load.unmatched
        if load.refused:
            self.found(Promise.P1, False, f"the broker refused {load.refused} messages")
