"""How fast things go: the difference between what was counted now and some seconds ago."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from services.operations.watching.scraping import Buckets, quantile

NEVER = float("inf")

UNDER_WAY_S = 2.0
"""What is stored within so many seconds is under way, no backlog."""
WINDOW_S = 10.0
"""Over how long a rate is taken: short enough to see a stop, long enough to be calm."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was counted by one moment (seconds of a monotonic clock)."""

    at: float
    received: float
    consumed: int | None
    rows: int | None
    delays: Buckets
    lag: int | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """Messages in and out and rows a second, and the delay from Kafka to row; None: not known.

    ``drained_in_s`` is when what waits in Kafka will be stored, should all go on as it does: 0
    where there is no backlog, ``NEVER`` where it doesn't shrink.
    """

    in_per_s: float | None = None
    out_per_s: float | None = None
    rows_per_s: float | None = None
    delay_p50_s: float | None = None
    delay_p95_s: float | None = None
    drained_in_s: float | None = None


class Rates:
    """Keeps the samples of the last seconds."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._samples: deque[Sample] = deque()

    def add(self, sample: Sample) -> Flow:
        """Take a sample in and return how fast it goes since the oldest one that is kept."""
        self._samples.append(sample)
        while len(self._samples) > 1 and self._samples[1].at <= sample.at - self._window_s:
            self._samples.popleft()
        return _flow(self._samples[0], sample)


def _flow(before: Sample, now: Sample) -> Flow:
    seconds = now.at - before.at
    if seconds <= 0:
        return Flow()
    delays = _difference(before.delays, now.delays)
    return Flow(
        in_per_s=_rate(before.received, now.received, seconds),
        out_per_s=_rate(before.consumed, now.consumed, seconds),
        rows_per_s=_rate(before.rows, now.rows, seconds),
        delay_p50_s=quantile(delays, 0.5),
        delay_p95_s=quantile(delays, 0.95),
        drained_in_s=_drained_in_s(before, now, seconds),
    )


def _drained_in_s(before: Sample, now: Sample, seconds: float) -> float | None:
    """Divide the lag by how much faster messages are consumed than they arrive in Kafka.

    That difference is by how much the lag shrank; whoever wrote them to Kafka counts.
    """
    consumed_per_s = _rate(before.consumed, now.consumed, seconds)
    if before.lag is None or now.lag is None or consumed_per_s is None:
        return None
    if now.lag <= consumed_per_s * UNDER_WAY_S:
        return 0.0
    shrinks_per_s = (before.lag - now.lag) / seconds
    return now.lag / shrinks_per_s if shrinks_per_s > 0 else NEVER


def _rate(before: float | None, now: float | None, seconds: float) -> float | None:
    if before is None or now is None:
        return None
    # A service that was started anew counts from 0 again.
    return max(0.0, now - before) / seconds


def _difference(before: Mapping[float, float], now: Mapping[float, float]) -> dict[float, float]:
    return {bound: max(0.0, count - before.get(bound, 0.0)) for bound, count in now.items()}
