"""Publish at a steady rate, by a clock that does not wait for whoever is slow."""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import islice

from services.common.publisher import Publisher
from services.operations.benchmarking.scenarios import Message

BURST_S = 0.01


def _nothing(_n: int, _due: float) -> None:
    """Note nothing."""


async def publish_at(
    client: Publisher,
    messages: Iterator[Message],
    per_s: float,
    note: Callable[[int, float], None] = _nothing,
) -> None:
    """Publish all messages, a burst every hundredth of a second.

    ``note`` is told of each burst how many messages it has and when it was *due* (monotonic
    seconds). A publisher that is held up sends late and says so: its waiting counts as delay.
    """
    began = time.monotonic()
    sent = 0
    while True:
        due = began + sent / per_s
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        burst = list(islice(messages, max(1, round(per_s * BURST_S))))
        if not burst:
            return
        note(len(burst), due)
        await client.publish(burst)
        sent += len(burst)
