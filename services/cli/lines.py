"""The same as the screen in plain lines, for where nobody watches a terminal."""

from collections.abc import Iterator

from services.cli.screen import duration, number, rate, seconds
from services.operations.watching.overview import Overview
from services.operations.watching.sums import Sum


def lines(seen: Overview) -> Iterator[str]:
    """Yield one look, a subject a line, each with the time in front."""
    at = f"{seen.at.astimezone():%H:%M:%S}"
    for subject, text in _subjects(seen):
        yield f"{at} {subject:<10} {text}"


def _subjects(seen: Overview) -> Iterator[tuple[str, str]]:
    flow = seen.flow
    yield "parts", ", ".join(f"{part.name} {part.reason or 'ready'}" for part in seen.parts)
    yield (
        "flow",
        (
            f"in {rate(flow.in_per_s)} messages/s, out {rate(flow.out_per_s)} messages/s, "
            f"{rate(flow.rows_per_s)} rows/s, delay p50 {seconds(flow.delay_p50_s)} "
            f"p95 {seconds(flow.delay_p95_s)}, lag {number(seen.lag)}, "
            f"drained in {duration(flow.drained_in_s)}"
        ),
    )
    for one in seen.sums:
        yield one.title, _sum(one)
    if seen.figures is not None:
        yield "rows", _counts(seen.figures.rows)
        yield "open", _counts(seen.figures.open_by_reason)
        yield "devices", _counts(seen.figures.devices)
    for problem in seen.problems():
        yield "PROBLEM", problem


def addresses(seen: Overview) -> Iterator[str]:
    """Yield where to look, a line an address."""
    for part in seen.parts:
        if part.address:
            yield f"{part.name:<11} {part.address}"


def _sum(one: Sum) -> str:
    parts = " + ".join(f"{number(n)} {name}" for name, n in one.parts.items())
    return f"{number(one.n)} {one.whole} = {parts} {'✓' if one.holds else '✗'}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number(n)}" for name, n in counts.items()) or "none"
