"""What a benchmark found, as tables."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from services.operations.benchmarking.comparing import Comparison
from services.operations.benchmarking.report import middle_run

_console, _aside = Console(), Console(stderr=True)


def say(text: str) -> None:
    """Say something beside the result."""
    _aside.print(text, style="dim", highlight=False, soft_wrap=True)


def print_scenarios(result: dict[str, Any]) -> None:
    """Print rates, delays, and what each process cost."""
    _print_conditions(result)
    _print(
        "from the first publish to the last commit",
        (
            "scenario",
            "devices",
            "messages/s",
            "lowest to highest",
            "readings/s",
            "CPU µs/message",
            "CPU of others",
        ),
        [_scenario(entry) for entry in result["scenarios"]],
    )
    delays = [entry for entry in result["scenarios"] if entry["latency"]]
    if delays:
        _print(
            "from publish to visible row, at half of the rate",
            ("scenario", "devices", "messages/s", "p50", "p95", "p99"),
            [_delay(entry) for entry in delays],
        )
    for entry in result["scenarios"]:
        _print_costs(entry)


def _scenario(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        entry["name"], f"{entry['devices']:,}", f"{entry['median_per_s']:,.0f}",
        f"{entry['lowest_per_s']:,.0f} to {entry['highest_per_s']:,.0f}",
        f"{entry['median_readings_per_s']:,.0f}", f"{entry['cpu_us_per_message']:.1f}",
        f"{entry['noise']:.0%}",
    )  # fmt: skip


def _delay(entry: dict[str, Any]) -> tuple[str, ...]:
    found = entry["latency"]
    seconds = [f"{found[name] * 1000:,.0f} ms" for name in ("p50_s", "p95_s", "p99_s")]
    return (entry["name"], f"{entry['devices']:,}", f"{found['per_s']:,.0f}", *seconds)


def _print_costs(entry: dict[str, Any]) -> None:
    """Print what each process cost in the median run, and whether its memory stayed flat."""
    _print(
        f"{entry['title']}, {entry['devices']:,} devices: by process",
        ("process", "CPU µs/message", "memory early MB", "late MB", "peak MB"),
        [
            (name, f"{cost['cpu_us_per_message']:.1f}", *_megabytes(cost))
            for name, cost in middle_run(entry)["costs"].items()
        ],
    )


def _megabytes(cost: dict[str, Any]) -> list[str]:
    return [f"{cost[key] / 1e6:,.0f}" for key in ("rss_early", "rss_late", "rss_peak")]


def print_growth(result: dict[str, Any]) -> None:
    """Print rate and query times by the size of the table, and memory."""
    _print_conditions(result)
    sizes = result["sizes"]
    _print(
        "as the table grows",
        ("rows", "messages/s", *[f"{name} ms" for name in sizes[0]["queries_ms"]]),
        [
            (f"{size['rows']:,}", f"{size['per_s']:,.0f}",
             *[f"{taken:.1f}" for taken in size["queries_ms"].values()])
            for size in sizes
        ],
    )  # fmt: skip
    memory = result["memory"]
    _print(
        f"memory, {memory['devices']:,} devices and a backlog of {memory['messages']:,} messages",
        ("process", "peak MB"),
        [(name, f"{peak / 1e6:,.0f}") for name, peak in memory["peak_bytes"].items()],
    )


def print_profile(result: dict[str, Any]) -> None:
    """Print where each process spends its time."""
    _print_conditions(result)
    _print(
        f"{result['per_s']:,.0f} messages/s, {result['devices']:,} devices",
        ("process", "CPU µs/message"),
        [(each["name"], f"{each['cpu_us_per_message']:.1f}") for each in result["processes"]],
    )
    for process in result["processes"]:
        if not process["parts"]:
            continue  # a server, which is not looked into
        _print(
            f"{process['name']}: {process['cpu_us_per_message']:.1f} µs of CPU a message",
            ("part", "share", "µs/message"),
            [
                (part["name"], f"{part['share']:.0%}", f"{part['us_per_message']:.2f}")
                for part in process["parts"]
            ],
        )


def print_comparison(found: Comparison) -> None:
    """Print the ratio of two revisions with its spread."""
    _print(
        f"{found.revision} against {found.base}: {found.scenario}, {found.devices:,} devices",
        ("pair", f"{found.base} messages/s", f"{found.revision} messages/s", "ratio"),
        [
            (str(n), f"{one.base.per_s:,.0f}", f"{one.here.per_s:,.0f}", f"{one.ratio:.3f}")
            for n, one in enumerate(found.pairs, 1)
        ],
    )
    _print(
        "CPU µs a message, medians",
        ("process", found.base, found.revision, "ratio"),
        [
            (name, f"{before:.1f}", f"{here:.1f}", f"{here / before:.3f}" if before else "")
            for name, (before, here) in found.cpu_us().items()
        ],
    )
    _console.print(found.sentence(), highlight=False)


def _print_conditions(result: dict[str, Any]) -> None:
    found = result["conditions"]
    machine = found["machine"]
    _console.print(
        f"{machine['cores']} cores, {machine['processor']}, load {machine['load_before']:.1f} "
        f"before, revision {found['revision']}",
        highlight=False,
    )


def _print(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(title=title)
    for n, heading in enumerate(headings):
        table.add_column(heading, justify="right" if n else "left")
    for row in rows:
        table.add_row(*row)
    _console.print(table)
