"""Numbered readings published in the background, and which of them the broker acknowledged."""

import asyncio
import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from services.common.publisher import Publisher
from tests.support.pipeline import Pipeline

DEVICES = 50
START = (datetime.now(UTC) - timedelta(days=2)).replace(microsecond=0)
BURSTS_A_SECOND = 20
KEPT_BACK, TRICKLE = 0.2, 0.05

Message = tuple[str, bytes]
Row = tuple[str, datetime, float]


def device_id(n: int) -> str:
    return f"load-{n % DEVICES}"


def topic(n: int) -> str:
    return f"citytally/v1/environmental/{device_id(n)}"


def message(n: int) -> Message:
    """The reading with that number: an identity and a value of its own."""
    return topic(n), json.dumps({"time": time_of(n).isoformat(), "co2_ppm": value(n)}).encode()


def time_of(n: int) -> datetime:
    return START + timedelta(seconds=n // DEVICES)


def value(n: int) -> float:
    return 400.0 + n % 997


def number(row: Row) -> int:
    """The number of a row; a row that no message of ours says fails the test."""
    device, time, stored = row
    n = round((time - START).total_seconds()) * DEVICES + int(device.removeprefix("load-"))
    assert (device, time, stored) == (device_id(n), time_of(n), value(n)), row
    return n


class Load:
    """Publishes readings ``first`` to ``first + n`` while its context is open, ``rate`` a second.

    The last fifth trickles until the context is left, so that no load ends before its faults do,
    however slow the machine; leaving it waits until all are acknowledged. ``torn`` messages more,
    spread evenly, are undecodable and stand in ``injected``. With ``copies`` 2 every message is
    sent twice.
    """

    def __init__(  # noqa: PLR0913 - a load has as many sides
        self, city: Pipeline, n: int, *, rate: int, first: int = 0, torn: int = 0, copies: int = 1,
        client_id: str = "load",
    ) -> None:  # fmt: skip
        self._rate = rate
        self._messages = _with_torn(range(first, first + n), torn, copies)
        self._publisher: Publisher = city.publisher(
            client_id=client_id, on_acknowledged=self._note_acknowledged
        )
        self._progress = asyncio.Event()
        self._no_more_faults = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._all: list[int | bytes] = []
        self.n = n
        self.acknowledged: set[int] = set()
        self.injected: set[bytes] = set()

    async def __aenter__(self) -> Self:
        await self._publisher.__aenter__()
        self._task = asyncio.create_task(self._publish(), name="load")
        self._task.add_done_callback(lambda _: self._progress.set())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._task is not None
        if kind is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        else:
            self._no_more_faults.set()
            await self._task
            await self._publisher.drain(60)
        await self._publisher.__aexit__(kind, error, trace)

    @property
    def flows(self) -> bool:
        """Whether there is still something to publish."""
        return self._task is not None and not self._task.done()

    async def reaches(self, share: float) -> None:
        """Wait until that share of the readings is acknowledged, and more is to come."""
        await self.passes(int(share * self.n))

    async def passes(self, n: int) -> None:
        """Wait until so many readings are acknowledged, and more is to come."""
        while len(self.acknowledged) < n:
            assert self.flows, f"the load ended after {len(self.acknowledged)} of {self.n}"
            self._progress.clear()
            await self._progress.wait()
        assert self.flows, "the load ended before the fault"

    async def seconds(self, seconds: float) -> None:
        """Let it go on for so long; more must be to come."""
        await asyncio.sleep(seconds)
        await self.passes(0)

    async def _publish(self) -> None:
        while messages := list(itertools.islice(self._messages, self._burst())):
            self._all += [what for what, _ in messages]
            await self._publisher.publish([message for _, message in messages])
            await asyncio.sleep(1 / BURSTS_A_SECOND)

    def _burst(self) -> int:
        burst = max(1, self._rate // BURSTS_A_SECOND)
        kept_back = len(self._all) > (1 - KEPT_BACK) * self.n
        if kept_back and not self._no_more_faults.is_set():
            burst = max(1, int(burst * TRICKLE))
        return burst

    def _note_acknowledged(self, numbers: Sequence[int]) -> None:
        for what in (self._all[each] for each in numbers):
            if isinstance(what, int):
                self.acknowledged.add(what)
            else:
                self.injected.add(what)
        self._progress.set()


def _with_torn(numbers: range, torn: int, copies: int) -> Iterator[tuple[int | bytes, Message]]:
    """Each message with what it is known by: a reading's number, or a torn message's bytes."""
    every = len(numbers) // torn if torn else len(numbers) + 1
    for place, n in enumerate(numbers, 1):
        for _ in range(copies):
            yield n, message(n)
        if place % every == 0:
            payload = b'{"time": torn %d' % n
            yield payload, (topic(n), payload)
