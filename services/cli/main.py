"""``citytally``: the commands by name. A command's module is imported when it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

RUN, DATA, DEVICES, TRY = "Run", "Ledger and quarantine", "Devices", "Try and replay"


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command or group of commands is, and what the overview says of it.

    ``attribute`` is a function, with ``EPILOG`` of its module as its examples, or a Typer app.
    """

    module: str
    attribute: str
    panel: str
    summary: str


COMMANDS = {
    "up": Command("running", "up_command", RUN, "Start servers and services here."),
    "down": Command("running", "down_command", RUN, "Stop what up started."),
    "status": Command(
        "status", "status_command", RUN, "Show what runs, how fast, and whether it balances."
    ),
    "migrate": Command(
        "migrate", "migrate_command", RUN, "Bring the database's schema up to date."
    ),
    "gateway": Command("gateway", "gateway_app", RUN, "End a gateway's slot for good."),
    "ledger": Command(
        "ledger", "ledger_app", DATA, "Hold everything against everything by counting again."
    ),
    "quarantine": Command(
        "quarantine", "quarantine_app", DATA, "What was refused: look, mend, replay, let go."
    ),
    "devices": Command("devices", "devices_app", DEVICES, "Register devices and look at them."),
    "check": Command(
        "check", "check_command", TRY, "Decode one message exactly as production would."
    ),
    "replay": Command("replay", "replay_command", TRY, "Publish recorded data over MQTT."),
    "bench": Command("bench", "bench_command", TRY, "Measure how fast this machine is."),
    "drill": Command("drill", "drill_command", TRY, "Prove every promise before going live."),
    "simulate": Command(
        "simulate", "simulate_command", TRY, "Simulate a city over MQTT until Ctrl-C."
    ),
}


class LazyGroup(TyperGroup):
    """Holds a stub for each command until it is called, so that the overview answers at once."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 # typer's own types
        """Put the real command in its stub's place."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = _load(args[0], COMMANDS[args[0]])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 # typer's own types
        """Tell in a sentence what kept a command from its work."""
        quiet = import_module("services.cli.quiet")
        try:
            with quiet.logs_shown(ctx.params["verbose"]):
                return super().invoke(ctx)
        except _expected() as error:
            raise _tell(error) from error


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,  # a traceback must not print a secret
    epilog="Exit codes: 0 fine, 1 something is wrong with data or ledger, 2 wrong usage, "
    "3 a server could not be reached.",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"citytally {version('citytally')}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_say_version, is_eager=True),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show logs on standard error.")
    ] = False,
) -> None:
    """Every reading accounted for: from MQTT through Kafka into TimescaleDB.

    Begin with [bold]citytally up --watch --simulate 300[/bold].
    """
    del verbose  # the group reads it


def _load(name: str, command: Command) -> Any:  # noqa: ANN401 # typer's own types
    module = import_module(f"services.cli.{command.module}")
    found = getattr(module, command.attribute)
    if isinstance(found, typer.Typer):
        loaded = get_command(found)
        loaded.name = name
        return loaded
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    epilogs = getattr(module, "EPILOGS", {})
    epilog = epilogs.get(name, getattr(module, "EPILOG", None))
    alone.command(name, epilog=epilog)(found)
    return get_command(alone)


def _expected() -> tuple[type[BaseException], ...]:
    """Evaluated only once something was raised, since it imports what may raise it."""
    expected: tuple[type[BaseException], ...] = import_module("services.cli.failures").EXPECTED
    return expected


def _tell(error: BaseException) -> typer.Exit:
    told: typer.Exit = import_module("services.cli.failures").tell(error)
    return told


def _stub(summary: str) -> Callable[[], None]:
    def stub() -> None:
        """Stand for a command that was not loaded."""

    stub.__doc__ = summary
    return stub


for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.summary, rich_help_panel=_command.panel)(
        _stub(_command.summary)
    )
