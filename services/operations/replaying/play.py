"""Play a recording: register what it is about, then publish it, at a pace, until it is answered.

1. Devices, sites and deployments are registered, so that nothing is refused as unknown.
2. Readings are published in the recording's order, a message each; the publisher bounds what is in
   flight.
3. The end waits until the broker has answered every message.

Stopped half way, it says how far it came; played again, what was stored already is a duplicate.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from schemas.registry import Deployment, Device, Site
from services.operations.replaying.pacing import Pace
from services.operations.replaying.recording import Recording

_CHUNK = 500
"""Messages handed over together: enough to be cheap, few enough to stop promptly."""
_WORTH_WAITING_S = 0.02
"""A reading due sooner goes with those before it."""
_ANSWERS_AFTER_STOP_S = 5.0


class Register(Protocol):
    """Stores registry items; those that are there already and say the same are left."""

    def __call__(  # noqa: D102 # the class says it
        self,
        *,
        devices: Sequence[Device],
        sites: Sequence[Site],
        deployments: Sequence[Deployment],
    ) -> Awaitable[object]: ...


class Publishes(Protocol):
    """What is needed of ``services.common.publisher.Publisher``."""

    acknowledged: int
    refused: int

    async def publish(self, messages: Iterable[tuple[str, bytes]]) -> int:
        """Send messages; waits while too many are unanswered."""
        ...

    async def drain(self, timeout_s: float | None = None) -> None:
        """Wait until every message has its answer. Raises TimeoutError."""
        ...


@dataclass(slots=True)
class Played:
    """How far a recording was played: messages handed over, and what the broker answered.

    ``reached`` is the (unshifted) stamp of the last reading handed over.
    """

    total: int
    skipped: dict[str, int] = field(default_factory=dict)
    published: int = 0
    acknowledged: int = 0
    refused: int = 0
    reached: datetime | None = None
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """True when the broker has acknowledged every reading of the recording."""
        return self.acknowledged == self.total


OnProgress = Callable[[Played], None]


def shift_of(recording: Recording, shift_to: datetime | None) -> timedelta:
    """Return by how much every stamp moves so that the first one becomes ``shift_to``."""
    return timedelta() if shift_to is None else shift_to - recording.first_at


async def replay(  # noqa: PLR0913 # what it plays, through what, and how
    recording: Recording,
    publisher: Publishes,
    register: Register,
    *,
    pace: Pace = Pace(),  # noqa: B008 # frozen
    shift_to: datetime | None = None,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = lambda _played: None,
) -> Played:
    """Play a recording as the module's docstring promises; ``stop`` ends it early."""
    shift = shift_of(recording, shift_to)
    await _register(recording, register, shift)
    played = Played(recording.count, skipped=dict(recording.skipped.by_reason))
    performance = _Performance(recording, publisher, pace, shift, played, on_progress)
    played.interrupted = await _stopped_first(performance.play(), stop or asyncio.Event())
    if played.interrupted:
        with contextlib.suppress(TimeoutError):  # what has no answer is told as such
            await publisher.drain(_ANSWERS_AFTER_STOP_S)
    performance.note()
    return played


async def _register(recording: Recording, register: Register, shift: timedelta) -> None:
    moved = recording.registered_at(shift)
    await register(devices=moved.devices, sites=moved.sites, deployments=moved.deployments)


async def _stopped_first(work: Coroutine[object, object, None], stop: asyncio.Event) -> bool:
    """Run ``work`` until it is done or ``stop`` is set; tell whether it was stopped."""
    playing = asyncio.create_task(work, name="play")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait([playing, stopping], return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            playing.result()
            return False
    finally:
        stopping.cancel()
        playing.cancel()
        await asyncio.wait([playing, stopping])
    return True


class _Performance:
    """One recording being published."""

    def __init__(  # a recording, its way out, and how it goes
        self,
        recording: Recording,
        publisher: Publishes,
        pace: Pace,
        shift: timedelta,
        played: Played,
        on_progress: OnProgress,
    ) -> None:
        self._recording = recording
        self._publisher = publisher
        self._pace = pace
        self._shift = shift
        self._played = played
        self._on_progress = on_progress
        self._last_at: datetime | None = None
        # A publisher may have been used before; its counts go on.
        self._before = publisher.acknowledged, publisher.refused

    async def play(self) -> None:
        """Publish every reading when it is due, then wait for the last answers."""
        started = time.monotonic()
        chunk: list[tuple[str, bytes]] = []
        for position, reading in enumerate(self._recording.stream()):
            recorded_s = (reading.time - self._recording.first_at).total_seconds()
            wait_s = started + self._pace.due_s(position, recorded_s) - time.monotonic()
            if wait_s > _WORTH_WAITING_S or len(chunk) == _CHUNK:
                await self._hand_over(chunk)
                await asyncio.sleep(max(0.0, wait_s))
            chunk.append((reading.topic(), reading.payload(self._shift)))
            self._last_at = reading.time
        await self._hand_over(chunk)
        await self._publisher.drain()

    def note(self) -> None:
        """Take over what the broker has answered so far, and tell it."""
        acknowledged, refused = self._before
        self._played.acknowledged = self._publisher.acknowledged - acknowledged
        self._played.refused = self._publisher.refused - refused
        self._on_progress(self._played)

    async def _hand_over(self, chunk: list[tuple[str, bytes]]) -> None:
        if chunk:
            await self._publisher.publish(chunk)
        self._played.published += len(chunk)
        self._played.reached = self._last_at
        chunk.clear()
        self.note()
