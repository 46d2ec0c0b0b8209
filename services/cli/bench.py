"""``citytally bench``: how fast this machine is, on servers of its own."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from services.cli.progress import shown
from services.common.settings import Settings
from services.operations.benchmarking import report
from services.operations.benchmarking.conditions import conditions
from services.operations.benchmarking.running import (
    BenchError,
    Run,
    measure,
    measure_backlog,
    register_devices,
)
from services.operations.benchmarking.scenarios import SCENARIOS, Scenario, scenario
from services.operations.local.scratch import Scratch, scratch_city
from services.storage.pool import connect

WARM_UP_MESSAGES = 20_000

console = Console()


def bench_command(
    scenarios: Annotated[
        list[str] | None,
        typer.Option("--scenario", "-s", help=f"One of {', '.join(SCENARIOS)}; may be repeated."),
    ] = None,
    devices: Annotated[
        list[int] | None,
        typer.Option("--devices", "-d", help="Devices sending in turn; may be repeated."),
    ] = None,
    messages: Annotated[int, typer.Option(help="Messages a run (backlog: five times as many).")] = (
        200_000
    ),
    runs: Annotated[int, typer.Option(help="Runs of each scenario; the median counts.")] = 5,
    ingests: Annotated[int, typer.Option(help="Ingest processes, 1 or 2.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure messages/s from the first publish to the last commit.

    Servers of its own on free ports, in a temporary folder: a running city is not touched. QoS 1,
    acks=all, fsync and synchronous_commit on; rows and ledger are checked after every run. The
    result stays in .citytally/bench/latest.json.

    Examples:
      citytally bench

      citytally bench --scenario single --devices 10000 --runs 3

      citytally bench -s backlog -d 100000 --json
    """
    chosen = [
        scenario(name, messages * (5 if name == "backlog" else 1), number)
        for name in scenarios or ["single"]
        for number in devices or [10_000]
        if _known(name)
    ]
    result = _run_all(chosen, runs, ingests)
    path = report.write(Settings().state_directory, result)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        _print(result)
        console.print(f"[dim]{path}[/dim]")


def _known(name: str) -> bool:
    if name not in SCENARIOS:
        raise typer.BadParameter(f"{name} is none of {', '.join(SCENARIOS)}")
    return True


def _run_all(chosen: Sequence[Scenario], runs: int, ingests: int) -> dict[str, Any]:
    with scratch_city(Settings()) as city:
        city.start_service("gateway-0")
        for number in range(ingests):
            city.start_service(f"ingest-{number}")
        try:
            return asyncio.run(_measure_all(city, chosen, runs))
        except BenchError as error:
            typer.echo(f"no figure: {error}", err=True)
            raise typer.Exit(1) from error


async def _measure_all(city: Scratch, chosen: Sequence[Scenario], runs: int) -> dict[str, Any]:
    connection = await connect(city.settings, "read")
    described = await conditions(connection, city.settings)
    await connection.close()
    await register_devices(city.settings, max(each.devices for each in chosen))
    base = _Base()
    warm_up = scenario("single", WARM_UP_MESSAGES, min(each.devices for each in chosen))
    await measure(city, warm_up, base.next(warm_up), lambda _n: None)
    entries = [
        report.summary(each, [await _one(city, each, base, n, runs) for n in range(runs)])
        for each in chosen
    ]
    return {"conditions": described, "scenarios": entries}


async def _one(city: Scratch, each: Scenario, base: "_Base", n: int, runs: int) -> Run:
    title = f"{each.name}, {each.devices} devices, run {n + 1} of {runs}"
    with shown(title, each.messages) as progress:
        run = measure_backlog if each.name == "backlog" else measure
        return await run(city, each, base.next(each), progress.advance_to)


class _Base:
    """Gives each run an event time of its own, all within the last days."""

    def __init__(self) -> None:
        start = datetime.now(UTC) - timedelta(days=300)
        self._next_ms = int(start.timestamp()) * 1000

    def next(self, each: Scenario) -> int:
        """Return the first time of a run and reserve what it takes up."""
        base = self._next_ms
        self._next_ms += each.span_ms()
        return base


def _print(result: dict[str, Any]) -> None:
    machine = result["conditions"]["machine"]
    console.print(
        f"{machine['cores']} cores, {machine['processor']}, "
        f"revision {result['conditions']['revision']}"
    )
    table = Table(title="from the first publish to the last commit")
    for heading in (
        "scenario",
        "devices",
        "messages/s",
        "lowest to highest",
        "readings/s",
        "CPU µs/message",
    ):
        table.add_column(heading, justify="left" if heading == "scenario" else "right")
    for entry in result["scenarios"]:
        table.add_row(
            entry["title"], f"{entry['devices']:,}", f"{entry['median_per_s']:,.0f}",
            f"{entry['lowest_per_s']:,.0f} to {entry['highest_per_s']:,.0f}",
            f"{entry['median_readings_per_s']:,.0f}", f"{entry['cpu_us_per_message']:.1f}",
        )  # fmt: skip
    console.print(table)
    for entry in result["scenarios"]:
        console.print(_costs(entry))


def _costs(entry: dict[str, Any]) -> Table:
    """Show what each process cost in the median run, and whether its memory stayed flat."""
    table = Table(title=f"{entry['title']}, {entry['devices']:,} devices: by process")
    for heading in ("process", "CPU µs/message", "memory early MB", "late MB", "peak MB"):
        table.add_column(heading, justify="left" if heading == "process" else "right")
    middle = sorted(entry["runs"], key=lambda run: float(run["per_s"]))[len(entry["runs"]) // 2]
    for name, cost in middle["costs"].items():
        table.add_row(
            name, f"{cost['cpu_us_per_message']:.1f}",
            *[f"{cost[key] / 1e6:,.0f}" for key in ("rss_early", "rss_late", "rss_peak")],
        )  # fmt: skip
    return table
