"""``citytally simulate``: a plausible city with plausible faults, through MQTT."""

import asyncio
import json
import sys
from typing import Annotated

import typer

from services.common import lifecycle
from services.common.settings import Settings
from services.simulator.faults import Fault, Injected, Rates
from services.simulator.main import NOT_REACHED, NOT_STARTED, simulate
from services.simulator.simulation import Plan, Simulated

SERVER_NOT_REACHED = 3
WRONG_USAGE = 2
NOT_ALL_ANSWERED = 1

_DEFAULT = Rates()
_CITY_OF_UP = Plan().seed


def _rate(fault: Fault, of: str = "readings") -> typer.models.OptionInfo:
    meaning = {
        Fault.LATE: "sent minutes late",
        Fault.DUPLICATE: "sent twice",
        Fault.OUT_OF_ORDER: "overtaken by the next one",
        Fault.MALFORMED: "cut off on the way",
        Fault.FUTURE: "stamped two days ahead",
        Fault.SENTINEL: "with an error code as a value",
        Fault.STUCK: "with values that do not move",
        Fault.SILENT: "without a word",
    }[fault]
    option: typer.models.OptionInfo = typer.Option(
        min=0, max=1, help=f"Share of {of} {meaning}.", rich_help_panel="Faults"
    )
    return option


def simulate_command(
    *,
    devices: Annotated[int, typer.Option(min=1, help="How many devices, of all kinds.")] = 300,
    seed: Annotated[
        int, typer.Option(help=f"Which city; {_CITY_OF_UP} is the one that `citytally up` runs.")
    ] = _CITY_OF_UP + 1,
    history_days: Annotated[
        float, typer.Option(min=0, max=60, help="Days before now to send first, once.")
    ] = 3.0,
    for_s: Annotated[
        float | None, typer.Option("--for", min=0, help="Stop after so many seconds.")
    ] = None,
    rate_factor: Annotated[
        float,
        typer.Option(
            min=0.01, max=1000, help="Report so many times as often (what has no interval)."
        ),
    ] = 1.0,
    late: Annotated[float, _rate(Fault.LATE)] = _DEFAULT.late,
    duplicate: Annotated[float, _rate(Fault.DUPLICATE)] = _DEFAULT.duplicate,
    out_of_order: Annotated[float, _rate(Fault.OUT_OF_ORDER)] = _DEFAULT.out_of_order,
    malformed: Annotated[float, _rate(Fault.MALFORMED)] = _DEFAULT.malformed,
    future: Annotated[float, _rate(Fault.FUTURE)] = _DEFAULT.future,
    sentinel: Annotated[float, _rate(Fault.SENTINEL)] = _DEFAULT.sentinel,
    stuck: Annotated[float, _rate(Fault.STUCK, "device hours")] = _DEFAULT.stuck,
    silent: Annotated[float, _rate(Fault.SILENT, "device hours")] = _DEFAULT.silent,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Simulate a city over MQTT until Ctrl-C, and print what went wrong on purpose.

    Devices are registered (origin simulated). The counts at the end are those to hold the ledger
    against; the same seed goes on where it ended.

    For example:

    citytally simulate --for 60

    citytally simulate --devices 50 --history-days 0 --rate-factor 10 --for 30 --json

    citytally simulate --seed 7 --late 0.1 --malformed 0.05
    """
    try:
        rates = Rates(late, duplicate, out_of_order, malformed, future, sentinel, stuck, silent)
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(WRONG_USAGE) from error
    plan = Plan(seed, devices, history_days, rate_factor, rates=rates)
    simulated = _run(plan, for_s)
    if as_json:
        typer.echo(json.dumps(simulated.as_json()))
    else:
        _report(simulated)
    if not simulated.complete or simulated.refused:
        raise typer.Exit(NOT_ALL_ANSWERED)


def _run(plan: Plan, for_s: float | None) -> Simulated:
    settings = Settings()
    done: list[Simulated] = []

    async def main(stop: asyncio.Event) -> int:
        if for_s is not None:
            asyncio.get_running_loop().call_later(for_s, stop.set)
        done.append(await simulate(settings, plan, stop, _show))
        return 0

    try:
        lifecycle.run(main)
    except NOT_REACHED as error:
        typer.echo(f"server not reached: {error}", err=True)
        raise typer.Exit(SERVER_NOT_REACHED) from error
    except NOT_STARTED as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(WRONG_USAGE) from error
    return done[0]


def _show(injected: Injected) -> None:
    counts = injected.counts
    line = f"sent {counts.get('readings', 0)} readings in {counts.get('messages', 0)} messages"
    # One line that is written over on a terminal; none where nobody watches.
    if sys.stderr.isatty():
        typer.echo(f"\r{line}", nl=False, err=True)


def _report(simulated: Simulated) -> None:
    run = simulated.run
    typer.echo(
        f"sent {run.counts.get('readings', 0)} readings in {run.counts.get('messages', 0)} messages"
    )
    faults = (f"{fault.value} {run.counts.get(fault, 0)}" for fault in Fault)
    typer.echo(f"injected: {', '.join(faults)}")
    typer.echo(f"the ledger must show: {_in_words(run)}")
    if simulated.history_left:
        typer.echo("history is not complete yet; the next run goes on with it")
    if not simulated.complete:
        typer.echo(
            "the broker did not answer everything; the counts end at the last save", err=True
        )


def _in_words(run: Injected) -> str:
    expected = run.expected()
    return (
        f"{expected.written} written, {expected.duplicate} duplicate, "
        f"{expected.future_time} quarantined as future_time, "
        f"{expected.malformed} undecodable as malformed"
    )
