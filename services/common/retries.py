"""Waiting between attempts: exponential, with jitter, up to a cap."""

import asyncio
import random
from collections.abc import Awaitable, Callable


class Backoff:
    """How long to wait before the next attempt.

    Delays double from ``first_s`` to ``cap_s``; each is drawn between half of itself and itself,
    so that many clients of one broken server do not come back at once. ``sleep`` and ``draw``
    (0 to 1) are injected by tests.
    """

    def __init__(
        self,
        first_s: float = 0.1,
        cap_s: float = 5.0,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._sleep = sleep
        self._draw = draw
        self.attempts = 0

    def next_delay(self) -> float:
        """Count an attempt and return how many seconds to wait after it."""
        full = min(self._cap_s, self._first_s * 2.0 ** min(self.attempts, 62))
        self.attempts += 1
        return full * (0.5 + 0.5 * self._draw())

    async def wait(self) -> None:
        """Wait before the next attempt."""
        await self._sleep(self.next_delay())

    def reset(self) -> None:
        """Begin again with the first delay, after a success."""
        self.attempts = 0
