"""``citytally up`` and ``down``: everything on one machine, started and stopped."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from services.cli.failures import WRONG
from services.cli.waiting import Steps, waiting
from services.cli.watching import watch_for, watch_until_told
from services.common.settings import Settings
from services.operations.local.layout import Layout
from services.operations.local.running import down, up

EPILOGS = {
    "up": """\b
Examples:
  citytally up
  citytally up --watch --simulate 300
  citytally up --watch --simulate 30 --for 60
  CITYTALLY_DATABASE_PORT=56432 citytally up
""",
    "down": """\b
Examples:
  citytally down
""",
}


def up_command(
    *,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show the live screen until Ctrl-C, then stop everything."),
    ] = False,
    simulate: Annotated[
        int, typer.Option(min=0, metavar="N", help="Simulate a city of N devices; 0: none.")
    ] = 0,
    for_s: Annotated[
        float | None,
        typer.Option(
            "--for",
            min=0,
            metavar="SECONDS",
            help="Watch so long, then stop the simulator, drain, print the ledger and stop "
            "everything. Exit 0 only if it balances.",
        ),
    ] = None,
) -> None:
    """Start Mosquitto, Kafka, PostgreSQL, a gateway and two ingest processes on this machine.

    What runs already is left alone; data, logs and secrets are in the state directory, and the
    next start goes on from there. A port that another server has is never touched.
    """
    console = Console()
    settings = Settings()
    try:
        running = up(settings, simulate=simulate, step=Steps(console))
    except KeyboardInterrupt:
        _stop(settings, console)
        raise typer.Abort from None
    if for_s is None and not watch:
        _say_where(console, running.layout)
        return
    balanced = True
    try:
        if for_s is None:
            asyncio.run(watch_until_told(running.layout.settings))
        else:
            balanced = asyncio.run(watch_for(running, for_s))
    finally:
        _stop(running.layout.settings, console)
    if not balanced:
        raise typer.Exit(WRONG)


def down_command() -> None:
    """Stop what `citytally up` started: services first, the gateway drains; then the servers."""
    _stop(Settings(), Console())


def _stop(settings: Settings, console: Console) -> None:
    with waiting("stopping"):
        ran = down(settings)
    if ran:
        console.print(f"stopped {', '.join(ran)}", highlight=False)
    else:
        console.print("nothing was running", highlight=False)


def _say_where(console: Console, here: Layout) -> None:
    settings = here.settings
    console.print(
        f"\nMQTT 127.0.0.1:{settings.mqtt_port} · Kafka {settings.kafka_bootstrap} · "
        f"PostgreSQL 127.0.0.1:{settings.database_port}/{settings.database_name}\n"
        "`citytally status --watch` shows it live, `citytally down` stops it",
        highlight=False,
        soft_wrap=True,
    )
