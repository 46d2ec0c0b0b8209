"""Figures in a document: what stands between two markers is written anew from the last results."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from services.operations.benchmarking import report
from services.operations.benchmarking.counting import BenchError

BEGIN = "<!-- figures: written by `citytally bench --write-docs`, not by hand -->"
END = "<!-- end of figures -->"
_MB = 1e6


def fill(document: Path, state_directory: Path) -> None:
    """Write the last results of bench, profile, growth and soak between a document's markers.

    Raises ``BenchError`` without a result or without markers.
    """
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise BenchError(f"{document} lacks the lines {BEGIN!r} and {END!r}")
    written = figures(state_directory)
    document.write_text(f"{before}{BEGIN}\n\n{written}\n{END}{after}", encoding="utf-8")


def figures(state_directory: Path) -> str:
    """Return the results as Markdown; what was not measured is left out."""
    sections = {
        report.FILE: _latest, report.PROFILE_FILE: _profile, report.GROWTH_FILE: _growth,
        report.SOAK_FILE: _soak,
    }  # fmt: skip
    lines: list[str] = []
    for file, section in sections.items():
        if (result := report.read(state_directory, file)) is not None:
            lines += section(result)
    if not lines:
        raise BenchError("nothing was measured yet: run `citytally bench`")
    return "\n".join(lines) + "\n"


def _latest(result: dict[str, Any]) -> Iterator[str]:
    yield "### Rates\n\n" + conditions(result["conditions"]) + "\n"
    yield from _table(
        ("scenario", "devices", "messages/s (median)", "lowest to highest", "readings/s",
         "µs of CPU a message", "without the client", "CPU of others",
         "hashed MB/s before"),
        [_rate(entry) for entry in result["scenarios"]],
    )  # fmt: skip
    yield from _steady(result["scenarios"])
    delays = [entry for entry in result["scenarios"] if entry["latency"]]
    if delays:
        yield "### From publish to visible row, at half of the rate\n"
        yield from _table(
            ("devices", "messages/s", "p50", "p95", "p99"), [_delay(entry) for entry in delays]
        )
    yield "### Microseconds of CPU a message, and memory, by process\n"
    names = list(dict.fromkeys(name for e in result["scenarios"] for name in e["runs"][0]["costs"]))
    yield from _table(
        ("scenario", "devices", *names), [_costs(entry, names) for entry in result["scenarios"]]
    )


def _rate(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        entry["title"], _n(entry["devices"]), _n(entry["median_per_s"]),
        f"{_n(entry['lowest_per_s'])} to {_n(entry['highest_per_s'])}",
        _n(entry["median_readings_per_s"]), f"{entry['cpu_us_per_message']:.1f}",
        f"{entry['cpu_us_per_message_without_client']:.1f}", f"{entry['noise']:.0%}",
        _n(entry["machine_mb_per_s"]),
    )  # fmt: skip


def _steady(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Say what a backlog's rate is without the start of the process that drains it."""
    for entry in entries:
        if entry["name"] == "backlog":
            yield (
                f"Backlog with {_n(entry['devices'])} devices: the clock runs from the launch of "
                f"the process; from its first commit on it is {_n(entry['median_steady_per_s'])} "
                "messages/s.\n"
            )


def _delay(entry: dict[str, Any]) -> tuple[str, ...]:
    found = entry["latency"]
    seconds = [f"{found[name]:.2f} s" for name in ("p50_s", "p95_s", "p99_s")]
    return (_n(entry["devices"]), _n(found["per_s"]), *seconds)


def _costs(entry: dict[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    costs = report.middle_run(entry)["costs"]
    return (entry["name"], _n(entry["devices"]), *[_cost(costs.get(name)) for name in names])


def _cost(cost: dict[str, Any] | None) -> str:
    if cost is None:
        return ""
    return f"{cost['cpu_us_per_message']:.1f} µs, {cost['rss_peak'] / _MB:.0f} MB"


def _profile(result: dict[str, Any]) -> Iterator[str]:
    yield "### Where gateway and ingest spend it\n\n" + conditions(result["conditions"]) + "\n"
    yield (
        f"Sampled at {_n(result['per_s'])} messages/s, {_n(result['devices'])} devices in turn.\n"
    )
    yield from _table(
        ("process", "µs of CPU a message"),
        [(each["name"], f"{each['cpu_us_per_message']:.1f}") for each in result["processes"]],
    )
    yield from _table(
        ("process", "part", "share", "µs a message"),
        [
            (process["name"], f"`{part['name']}`", f"{part['share']:.0%}",
             f"{part['us_per_message']:.2f}")
            for process in result["processes"]
            for part in process["parts"]
        ],
    )  # fmt: skip


def _growth(result: dict[str, Any]) -> Iterator[str]:
    yield "### As the table grows\n\n" + conditions(result["conditions"]) + "\n"
    asked = list(result["sizes"][0]["queries_ms"])
    yield from _table(
        ("rows", "messages/s", *[f"{name}, ms" for name in asked]),
        [
            (_n(size["rows"]), _n(size["per_s"]),
             *[f"{size['queries_ms'][name]:.1f}" for name in asked])
            for size in result["sizes"]
        ],
    )  # fmt: skip
    memory = result["memory"]
    yield (
        f"Highest memory with {_n(memory['devices'])} devices and a backlog of "
        f"{_n(memory['messages'])} messages:\n"
    )
    peaks = memory["peak_bytes"]
    yield from _table(tuple(peaks), [tuple(f"{peak / _MB:.0f} MB" for peak in peaks.values())])


def _soak(result: dict[str, Any]) -> Iterator[str]:
    yield "### Under faults for long\n\n" + conditions(result["conditions"]) + "\n"
    slowest = max((check["caught_up_s"] for check in result["checks"]), default=0.0)
    yield (
        f"{_n(result['messages'])} messages in {result['seconds']:.0f} s at {_n(result['per_s'])} "
        f"a second, {len(result['checks'])} faults by the seed `{result['seed']}`; the ledger "
        f"balanced after each and every message is a row once. At most {_n(result['highest_lag'])} "
        f"messages waited ({result['highest_lag_s']:.1f} s of the load); caught up at most "
        f"{slowest:.1f} s after everything was ready again.\n"
    )
    peaks = result["peak_bytes"]
    yield from _table(
        ("highest memory", *peaks),
        [(half, *[f"{peak[n] / _MB:.0f} MB" for peak in peaks.values()])
         for n, half in enumerate(("first half", "second half"))],
    )  # fmt: skip


def conditions(found: dict[str, Any]) -> str:
    """Say in a paragraph under which conditions figures were measured."""
    machine, versions = found["machine"], found["versions"]
    durable = ", ".join(f"{name} {value}" for name, value in found["durability"].items())
    libraries = ", ".join(f"{name} {value}" for name, value in versions.items())
    return (
        f"{found['measured_at']}, revision {found['revision']}; {machine['cores']} cores of "
        f"{machine['processor']}, {machine['memory_gib']} GiB, load {machine['load_before']:.1f} "
        f"before the start. {libraries}. {durable}."
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(headings) + " |"
    yield "|" + "---|" * len(headings)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _n(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")
