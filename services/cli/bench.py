"""``citytally bench``: how fast this machine is, on servers of its own."""

import asyncio
import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli import bench_tables as tables
from services.cli.progress import shown
from services.common.settings import Settings
from services.operations.benchmarking import comparing, documenting, growth, profiling, report
from services.operations.benchmarking.counting import BenchError, Progress
from services.operations.benchmarking.plotting import NoPlotError, plot
from services.operations.benchmarking.scenarios import DEVICES, SCENARIOS, Scenario, scenario
from services.operations.benchmarking.suite import (
    Wanted,
    describe,
    estimate_s,
    measure_scenario,
    measured_city,
)

EPILOG = """\b
Examples:
  citytally bench
  citytally bench --scenario single --devices 10000 --runs 3
  citytally bench -s backlog -d 100000 --json
  citytally bench --growth --rows 1000000 --rows 10000000
  citytally bench --profile
  citytally bench --compare HEAD~5
  citytally bench --write-docs docs/performance.md
"""


def bench_command(
    *,
    scenarios: Annotated[
        list[str] | None,
        typer.Option(
            "--scenario",
            "-s",
            help=f"One of {', '.join(SCENARIOS)}; may be repeated. Default: all.",
        ),
    ] = None,
    devices: Annotated[
        list[int] | None,
        typer.Option(
            "--devices",
            "-d",
            help="Devices that send in turn; may be repeated. Default: 300, 10 000 and 100 000.",
        ),
    ] = None,
    messages: Annotated[
        int, typer.Option(help="Single readings a run; backlog five times as many.", min=100)
    ] = 200_000,
    runs: Annotated[int, typer.Option(help="Runs of each; the median counts.", min=1)] = 5,
    ingests: Annotated[int, typer.Option(help="Ingest processes.", min=1, max=2)] = 1,
    latency: Annotated[
        bool, typer.Option(help="Measure the delay at half of the rate, for single readings.")
    ] = True,
    grow: Annotated[
        bool, typer.Option("--growth", help="Measure rate and queries as the tables grow, instead.")
    ] = False,
    rows: Annotated[
        list[int] | None,
        typer.Option(help="With --growth: sizes of the table. Default: 1, 10 and 50 million."),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show where gateway and ingest spend it, instead.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(metavar="BASE", help="Compare a revision, or BASE..REV, with the code here."),
    ] = None,
    write_docs: Annotated[
        Path | None,
        typer.Option(help="Put the last results between this file's markers; measure nothing."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure messages/s from the first publish to the last commit.

    Servers of its own on free ports, in a temporary folder, anew for each scenario: a running city
    is not touched. QoS 1, acks=all, fsync and synchronous_commit on; rows and ledger are checked
    after every run. The result stays in .citytally/bench/latest.json, a plot beside it. Ctrl-C ends
    everything and leaves the last result as it was.
    """
    settings = Settings()
    several = [
        scenario(_known(name), messages, number)
        for name in scenarios or SCENARIOS
        for number in devices or DEVICES
    ]
    one = scenario(scenarios[0] if scenarios else "single", messages, (devices or [10_000])[0])
    with _stopped_by_signals():
        if write_docs is not None:
            documenting.fill(write_docs, settings.state_directory)
        elif compare is not None:
            _compare(compare, one, messages, runs)
        elif profile:
            _profile(settings, one, as_json)
        elif grow:
            wanted = growth.Growth(sorted(rows or growth.ROWS), one.devices, messages)
            _grow(settings, wanted, as_json)
        else:
            _measure(settings, several, Wanted(runs, ingests, latency), as_json)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end every process, and tell in a sentence why there is no figure.

    SIGINT too is set: a shell starts what runs in the background with it ignored.
    """
    stops = (signal.SIGINT, signal.SIGTERM)
    former = {each: signal.signal(each, signal.default_int_handler) for each in stops}
    try:
        yield
    except BenchError as error:
        typer.echo(f"no figure: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo("stopped: every process of the bench has ended, nothing was written", err=True)
        raise typer.Exit(1) from None
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)


def _known(name: str) -> str:
    if name not in SCENARIOS:
        raise typer.BadParameter(f"{name} is none of {', '.join(SCENARIOS)}")
    return name


def _measure(
    settings: Settings, several: Sequence[Scenario], wanted: Wanted, as_json: bool
) -> None:
    _say_estimate(estimate_s(several, wanted))
    result: dict[str, Any] = {"conditions": {}, "scenarios": []}
    for each in several:
        with measured_city(settings, wanted.ingests) as city:
            result["conditions"] = result["conditions"] or asyncio.run(describe(city))
            entry = asyncio.run(measure_scenario(city, each, wanted, _shown))
            result["scenarios"].append(entry)
    paths = [report.write(settings.state_directory, result), *_plotted(settings, result)]
    _tell(result, as_json, tables.print_scenarios, paths)


def _plotted(settings: Settings, result: dict[str, Any]) -> list[Path]:
    try:
        return [plot(settings.state_directory, result)]
    except NoPlotError as error:
        typer.echo(str(error), err=True)
        return []


def _grow(settings: Settings, wanted: growth.Growth, as_json: bool) -> None:
    _say_estimate(growth.estimate_s(wanted))
    result = growth.measure_growth(settings, wanted, _shown)
    path = report.write(settings.state_directory, result, report.GROWTH_FILE)
    _tell(result, as_json, tables.print_growth, [path])


def _profile(settings: Settings, each: Scenario, as_json: bool) -> None:
    result = profiling.profile(settings, each, _shown)
    path = report.write(settings.state_directory, result, report.PROFILE_FILE)
    _tell(result, as_json, tables.print_profile, [path])


def _compare(base: str, each: Scenario, messages: int, runs: int) -> None:
    wanted = comparing.Wanted(each.name, each.devices, messages, runs)
    _say_estimate(comparing.estimate_s(wanted))
    tables.print_comparison(comparing.compare(base, wanted, tables.say))


def _tell(result: dict[str, Any], as_json: bool, show: Any, paths: Sequence[Path]) -> None:  # noqa: ANN401 -- prints the result
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    show(result)
    for path in paths:
        tables.say(str(path))


def _say_estimate(seconds: float) -> None:
    tables.say(f"about {max(1, round(seconds / 60))} minutes on a slow machine; Ctrl-C ends it")


@contextmanager
def _shown(title: str, total: int) -> Iterator[Progress]:
    with shown(title, total) as progress:
        yield progress.advance_to
