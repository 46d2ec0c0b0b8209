"""Messages published in the background while faults happen, and which of them were acknowledged."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from services.common.publisher import Publisher
from services.common.settings import Settings
from services.operations.drilling.readings import Refusal, Row, Sent
from services.operations.drilling.scenario import DrillError
from services.operations.stack.mosquitto import OPERATOR

BURSTS_A_SECOND = 20
KEPT_BACK, TRICKLE = 0.2, 0.05
DRAIN_S = 60.0
STALLED_S = 90.0


class Load:
    """Publishes messages with QoS 1 while its context is open, ``rate`` a second.

    The last fifth trickles until the context is left, so that no load ends before its faults do,
    however slow the machine; leaving it waits until all have their answer.
    """

    def __init__(
        self, settings: Settings, messages: Sequence[Sent], *, rate: float, client_id: str
    ) -> None:
        self._messages = messages
        self._rate = rate
        self._publisher = Publisher(
            settings.mqtt_host, settings.mqtt_port, user=OPERATOR,
            password=settings.secret(OPERATOR), client_id=client_id,
            on_acknowledged=self._note_acknowledged,
        )  # fmt: skip
        self._progress = asyncio.Event()
        self._no_more_faults = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.sent = 0
        self.answered = 0
        self.rows: set[Row] = set()
        self.refusals: set[Refusal] = set()

    async def __aenter__(self) -> Self:
        await self._publisher.__aenter__()
        self._task = asyncio.create_task(self._publish(), name="load")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                await self._finish()
        finally:
            if self._task is not None and not self._task.done():
                self._task.cancel()
                await asyncio.wait([self._task])
            await self._publisher.__aexit__(kind, error, trace)

    @property
    def n(self) -> int:
        """How many messages there are."""
        return len(self._messages)

    @property
    def unmatched(self) -> int:
        """Messages that the broker answered with "no matching subscribers"."""
        return self._publisher.unmatched

    @property
    def refused(self) -> int:
        """Messages that the broker refused."""
        return self._publisher.refused

    async def reaches(self, share: float) -> None:
        """Wait until that share of the messages is acknowledged, and more is to come."""
        await self._passes(int(share * self.n))

    async def seconds(self, seconds: float) -> None:
        """Let it go on for so long."""
        await asyncio.sleep(seconds)
        await self._passes(0)

    async def _passes(self, n: int) -> None:
        while self.answered + self.unmatched < n:
            self._must_flow()
            self._progress.clear()
            try:
                await asyncio.wait_for(self._progress.wait(), STALLED_S)
            except TimeoutError as error:
                raise DrillError(f"the broker acknowledged nothing for {STALLED_S} s") from error
        self._must_flow()

    def _must_flow(self) -> None:
        if self._task is None or self._task.done():
            raise DrillError(f"the load of {self.n} messages ended before its faults")

    async def _finish(self) -> None:
        self._no_more_faults.set()
        if self._task is not None:
            await self._task
        try:
            await self._publisher.drain(DRAIN_S)
        except TimeoutError as error:
            left = self._publisher.unacknowledged
            raise DrillError(f"{left} messages had no answer within {DRAIN_S} s") from error

    async def _publish(self) -> None:
        while self.sent < self.n:
            burst = self._messages[self.sent : self.sent + self._burst()]
            self.sent += len(burst)
            await self._publisher.publish([each.message for each in burst])
            await asyncio.sleep(1 / BURSTS_A_SECOND)

    def _burst(self) -> int:
        burst = max(1, int(self._rate / BURSTS_A_SECOND))
        kept_back = self.sent > (1 - KEPT_BACK) * self.n
        if kept_back and not self._no_more_faults.is_set():
            return max(1, int(burst * TRICKLE))
        return burst

    def _note_acknowledged(self, numbers: list[int]) -> None:
        for becomes in (self._messages[number].becomes for number in numbers):
            if isinstance(becomes, Row):
                self.rows.add(becomes)
            else:
                self.refusals.add(becomes)
        self.answered += len(numbers)
        self._progress.set()
