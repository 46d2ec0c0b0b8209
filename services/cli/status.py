"""``citytally status``: one look at everything, or the live screen on what runs already."""

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console

from services.cli.failures import UNREACHABLE, WRONG
from services.cli.lines import addresses, lines
from services.cli.screen import screen
from services.cli.watching import watch_until_told
from services.common.settings import Settings
from services.operations.watching.overview import Overview, Watcher

BETWEEN_LOOKS_S = 2.0
"""A rate takes two looks."""

EPILOG = """\b
Examples:
  citytally status
  citytally status --watch
  citytally status --json | jq .flow
"""


def status_command(
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Show it live until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what runs, how fast it goes, and whether the counters balance.

    Exit 1: a service is not ready, the counters do not add up, or a gap waits to be acknowledged.
    Exit 3: a server does not answer.
    """
    settings = Settings()
    if watch:
        asyncio.run(watch_until_told(settings))
        return
    seen = asyncio.run(_look_twice(settings))
    if as_json:
        typer.echo(json.dumps(seen.as_json()))
    else:
        _show(seen)
    if not seen.reachable:
        raise typer.Exit(UNREACHABLE)
    if seen.problems():
        raise typer.Exit(WRONG)


async def _look_twice(settings: Settings) -> Overview:
    watcher = Watcher(settings)
    try:
        seen = await watcher.look()
        if seen.reachable:
            await asyncio.sleep(BETWEEN_LOOKS_S)
            seen = await watcher.look()
        return seen
    finally:
        await watcher.close()


def _show(seen: Overview) -> None:
    console = Console()
    hint = "citytally status --watch shows it live, citytally ledger counts everything again"
    if not seen.reachable:
        hint = "citytally up starts what is missing"
    if console.is_terminal:
        console.print(screen(seen, [], hint))
        return
    for line in (*addresses(seen), *lines(seen)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
