"""``citytally drill``: the proof before going live, on servers of its own."""

import json
import secrets
import signal
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from services.cli.failures import USAGE, WRONG
from services.common.settings import Settings
from services.operations.drilling.catalogue import SCENARIOS
from services.operations.drilling.result import Result
from services.operations.drilling.running import Drill
from services.operations.drilling.scenario import Scenario

EPILOG = """\b
Examples:
  citytally drill --quick
  citytally drill --list
  citytally drill --scenario gateway-killed --scenario database-restored
  citytally drill --json > drill.json
"""

MESSAGES, QUICK_MESSAGES = 6_000, 1_500
MOST_MESSAGES = 100_000
SEEDS = 1_000_000


def drill_command(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="The most telling scenarios in small, in two minutes.")
    ] = False,
    scenarios: Annotated[
        list[str] | None,
        typer.Option("--scenario", "-s", help="A scenario by name (see --list); repeatable."),
    ] = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Name all scenarios and what they prove, and end.")
    ] = False,
    messages: Annotated[
        int | None,
        typer.Option(
            min=200,
            max=MOST_MESSAGES,
            help=f"Messages a scenario. Default: {MESSAGES}, with --quick {QUICK_MESSAGES}.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Moves the moments of faults. Default: a new one, which is told."),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for programs.")
    ] = False,
) -> None:
    """Kill, stop, freeze, fill and replace everything, and hold every promise against it.

    Servers, database and topics are its own, on free ports in a temporary folder: a running city
    is not touched. Exit 0 only if every promise held.
    """  # fmt: skip
    if list_only:
        _list()
        return
    console = Console(stderr=json_output, highlight=False)
    n = messages or (QUICK_MESSAGES if quick else MESSAGES)
    drill = Drill(
        _chosen(scenarios or [], quick=quick), n, quick,
        secrets.randbelow(SEEDS) if seed is None else seed,
        tell=lambda text: console.print(text, markup=False, soft_wrap=True),
    )  # fmt: skip
    console.print(f"{len(drill.chosen)} scenarios, {n} messages each, seed {drill.seed}")
    _play(drill, console)
    if json_output:
        typer.echo(json.dumps(_as_json(drill)))
    else:
        console.print(_table(drill.results))
    console.print(_verdict(drill))
    if not drill.holds:
        raise typer.Exit(WRONG)


def _chosen(names: Sequence[str], *, quick: bool) -> list[Scenario]:
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        typer.echo(f"{', '.join(unknown)}: no such scenario (see `citytally drill --list`)",
                   err=True)  # fmt: skip
        raise typer.Exit(USAGE)
    if names:
        return [SCENARIOS[name] for name in dict.fromkeys(names)]
    return [each for each in SCENARIOS.values() if each.quick or not quick]


def _play(drill: Drill, console: Console) -> None:
    """Play all; Ctrl-C, or SIGTERM, ends every process and leaves what was found so far.

    SIGINT too is set: a shell starts what runs in the background with it ignored.
    """
    former = {
        each: signal.signal(each, signal.default_int_handler)
        for each in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with closing(drill.play(Settings())) as results:
            for result in results:
                _show(console, result)
    except KeyboardInterrupt:
        console.print("[red]stopped[/red]: every process of the drill has ended")
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)


def _show(console: Console, result: Result) -> None:
    counts = result.counts
    if result.skipped:
        console.print(f"  [yellow]![/yellow] skipped: {result.skipped}")
        return
    console.print(
        f"  · {counts.acknowledged} acknowledged, {counts.stored} stored, {counts.duplicate} "
        f"duplicate, {counts.quarantined} quarantined, {counts.gaps} gaps, {counts.lost} lost as "
        f"allowed, {counts.unmatched} unmatched",
        soft_wrap=True,
    )
    for finding in result.findings:
        mark = "[green]✓[/green]" if finding.holds else "[bold red]✗[/bold red]"
        console.print(f"  {mark} {finding.promise.name} {finding.promise.value}: ", end="")
        console.print(finding.says, markup=False, soft_wrap=True)


def _table(results: Sequence[Result]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("scenario", no_wrap=True)
    for heading in ("acked", "rows", "twice", "bad", "gaps", "lost", "s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("promises", no_wrap=True)
    for result in results:
        counts = result.counts
        numbers = (counts.acknowledged, counts.stored, counts.duplicate, counts.quarantined,
                   counts.gaps, counts.lost)  # fmt: skip
        table.add_row(result.name, *map(str, numbers), f"{result.seconds:.0f}", _promises(result))
    return table


def _promises(result: Result) -> str:
    if result.skipped:
        return "[yellow]skipped[/yellow]"
    names = " ".join(promise.name for promise in result.promises)
    broken = sorted({finding.promise.name for finding in result.findings if not finding.holds})
    return f"[bold red]✗ {' '.join(broken)}[/bold red]" if broken else f"[green]✓ {names}[/green]"


def _verdict(drill: Drill) -> str:
    played, wanted = len(drill.results), len(drill.chosen)
    skipped = sum(result.skipped is not None for result in drill.results)
    beside = f", {skipped} skipped" if skipped else ""
    if drill.holds:
        return f"[green]every promise held[/green] in {played} scenarios{beside}"
    broken = [result.name for result in drill.results if not result.holds]
    told = f"broken in {', '.join(broken)}" if broken else "none was broken so far"
    return f"[red]{told}[/red]: {played} of {wanted} scenarios played{beside}"


def _as_json(drill: Drill) -> dict[str, object]:
    return {
        "holds": drill.holds,
        "seed": drill.seed,
        "messages": drill.messages,
        "scenarios": [result.as_json() for result in drill.results],
        "not_played": [each.name for each in drill.chosen[len(drill.results) :]],
    }


def _list() -> None:
    table = Table(show_header=True, box=None)
    for heading in ("scenario", "what is done", "promises", "quick"):
        table.add_column(heading, no_wrap=heading != "what is done")
    for each in SCENARIOS.values():
        promises = " ".join(promise.name for promise in each.promises)
        table.add_row(each.name, each.title, promises, "quick" if each.quick else "")
    Console().print(table)
