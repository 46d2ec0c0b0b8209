"""A service's ``/metrics`` as numbers by name."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from services.operations.local.readiness import ask, reason_of

Buckets = Mapping[float, float]
"""Observations up to and including a bound, by that bound."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one service said: why it is not ready, its counters and gauges, its histograms."""

    reason: str | None
    values: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Buckets] = field(default_factory=dict)


async def scrape(ports: Mapping[str, int]) -> dict[str, Scrape]:
    """Ask all services at once; one that does not answer has only a reason."""
    answers = await asyncio.gather(*[asyncio.to_thread(_scrape, port) for port in ports.values()])
    return dict(zip(ports, answers, strict=True))


def _scrape(port: int) -> Scrape:
    reason, metrics = reason_of(ask(port, "/readyz")), ask(port, "/metrics")
    if metrics is None:
        return Scrape(reason or "does not answer")
    return parse(metrics.decode(), reason)


def parse(text: str, reason: str | None) -> Scrape:
    """Read Prometheus' text format; labels other than a bucket's bound are summed over."""
    values: defaultdict[str, float] = defaultdict(float)
    histograms: defaultdict[str, defaultdict[float, float]] = defaultdict(
        lambda: defaultdict(float)
    )
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                histograms[family.name][float(sample.labels["le"])] += sample.value
            elif not sample.name.endswith("_created"):
                values[sample.name] += sample.value
    return Scrape(reason, values, histograms)


def total(scrapes: Iterable[Scrape], name: str) -> float:
    """Return the sum of one counter or gauge over services; who lacks it counts as 0."""
    return sum(each.values.get(name, 0.0) for each in scrapes)


def merged(scrapes: Iterable[Scrape], name: str) -> dict[float, float]:
    """Return the sum of one histogram over services."""
    sums: defaultdict[float, float] = defaultdict(float)
    for each in scrapes:
        for bound, count in each.histograms.get(name, {}).items():
            sums[bound] += count
    return dict(sums)


def quantile(buckets: Buckets, share: float) -> float | None:
    """Estimate a quantile within its bucket, as Prometheus does; None without observations.

    Above the largest bound it is that bound.
    """
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    wanted = share * buckets[bounds[-1]]
    low, below = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted and bound != float("inf"):
            inside = buckets[bound] - below
            return low + (bound - low) * ((wanted - below) / inside if inside else 1.0)
        if bound != float("inf"):
            low, below = bound, buckets[bound]
    return low
