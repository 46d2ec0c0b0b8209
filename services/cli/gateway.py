"""``citytally gateway``: what a person does to a gateway's slot."""

import asyncio
from typing import Annotated

import typer

from services.cli.failures import UNREACHABLE, WRONG
from services.cli.waiting import waiting
from services.common.settings import Settings
from services.gateway.retire import SlotInUseError, retire

gateway_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", add_completion=False)

RETIRE_EPILOG = """\b
Examples:
  citytally gateway retire gateway-1
"""


@gateway_app.callback()
def gateway() -> None:
    """End a gateway's slot for good."""


@gateway_app.command("retire", epilog=RETIRE_EPILOG)
def retire_command(
    slot: Annotated[str, typer.Argument(help="Name of the slot, such as gateway-1.")],
) -> None:
    """Bring into Kafka what the broker holds for a slot that is gone, then end its session.

    An absent slot keeps getting its share of all messages, for ever. Stop its gateway first: one
    that runs takes its slot back, and nothing is ended.
    """
    settings = Settings()
    try:
        with waiting(f"draining {slot}"):
            done = asyncio.run(retire(settings, slot))
    except SlotInUseError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(WRONG) from error
    except (ConnectionError, TimeoutError) as error:
        address = f"{settings.mqtt_host}:{settings.mqtt_port}"
        reason = str(error) or "no answer"
        typer.echo(f"Mosquitto at {address}: {reason}; `citytally up` starts it", err=True)
        raise typer.Exit(UNREACHABLE) from error
    if not done.had_session:
        typer.echo(f"the broker holds no session of {slot}: nothing to end")
        return
    typer.echo(f"{slot} is ended; messages brought into Kafka on the way: {done.drained}")
