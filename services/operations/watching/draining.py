"""Wait until everything that was published is a row, or accounted for otherwise."""

import asyncio
import time
from collections.abc import Callable

from services.operations.watching.overview import Overview, Watcher

QUIET_LOOKS = 3
"""Looks in a row that must show nothing under way: between two programs a message is nowhere."""
LOOK_EVERY_S = 0.7


async def drain(watcher: Watcher, timeout_s: float, on_look: Callable[[Overview], None]) -> bool:
    """Wait until nothing is under way between publisher and row; False when time is over.

    Whoever publishes has stopped before. Nothing is under way when the gateway is ready, has
    received nothing more, holds nothing, and Kafka holds no record that was not consumed.
    """
    deadline = time.monotonic() + timeout_s
    received, quiet = -1.0, 0
    while time.monotonic() < deadline:
        seen = await watcher.look()
        on_look(seen)
        quiet = quiet + 1 if _is_empty(seen) and seen.received == received else 0
        if quiet >= QUIET_LOOKS:
            return True
        received = seen.received
        await asyncio.sleep(LOOK_EVERY_S)
    return False


def _is_empty(seen: Overview) -> bool:
    working = all(part.reason is None for part in seen.parts if part.name != "simulator")
    return working and seen.in_flight == 0 and seen.lag == 0
