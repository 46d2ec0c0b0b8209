"""Messages published in the background while faults happen, and which of them were acknowledged."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from services.common.publisher import Publisher
from services.common.settings import Settings
from services.operations.drilling.readings import Refusal, Row, Sent
from services.operations.drilling.result import DrillError
from services.operations.stack.mosquitto import OPERATOR

BURSTS_A_SECOND = 20
KEPT_BACK, TRICKLE_S = 0.2, 120.0
"""The share of a load that is kept back, and how long it lasts while faults go on."""
DRAIN_S = 60.0
STALLED_S = 90.0


class Load:
    """Publishes messages with QoS 1 while its context is open, ``rate`` a second.

    The last fifth trickles until the context is left, so that no load ends before its faults do,
    however slow the machine; leaving it waits until all have their answer. ``shift`` moves the
    moments of faults by that share of the messages.
    """

    def __init__(
        self,
        settings: Settings,
        messages: Sequence[Sent],
        *,
        rate: float,
        shift: float,
        client_id: str,
    ) -> None:
        self._messages = messages
        self._rate = rate
        self._shift = shift
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
        """Wait until about that share of the messages is acknowledged, and more is to come."""
        await self._passes(int((share + self._shift) * self.n))

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
        burst = max(1, int(self._rate / BURSTS_A_SECOND))
        await self._send_until(int((1 - KEPT_BACK) * self.n), burst, 1 / BURSTS_A_SECOND)
        await self._trickle()
        await self._send_until(self.n, burst, 1 / BURSTS_A_SECOND)

    async def _trickle(self) -> None:
        """Send what was kept back one by one, until it is gone or no more faults come."""
        pause_s = TRICKLE_S / max(1, self.n - self.sent)
        while self.sent < self.n and not self._no_more_faults.is_set():
            await self._send(1)
            await self._sleep(pause_s)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or wake when no more faults come."""
        over = asyncio.ensure_future(self._no_more_faults.wait())
        await asyncio.wait({over}, timeout=seconds)
        over.cancel()

    async def _send_until(self, n: int, burst: int, pause_s: float) -> None:
        while self.sent < n:
            await self._send(min(burst, n - self.sent))
            await asyncio.sleep(pause_s)

    async def _send(self, n: int) -> None:
        burst = self._messages[self.sent : self.sent + n]
        self.sent += len(burst)
        await self._publisher.publish([each.message for each in burst])

    def _note_acknowledged(self, numbers: Sequence[int]) -> None:
        for becomes in (self._messages[number].becomes for number in numbers):
            if isinstance(becomes, Row):
                self.rows.add(becomes)
            else:
                self.refusals.add(becomes)
        self.answered += len(numbers)
        self._progress.set()
