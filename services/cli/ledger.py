"""``citytally ledger``: every message and reading accounted for, as a balance."""

import asyncio
import json
from datetime import date, datetime
from typing import Annotated, Any, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.failures import USAGE, WRONG
from services.cli.shown import plain, print_json, who
from services.cli.waiting import waiting
from services.common.settings import Settings
from services.operations.accounting import Account, account, acknowledge
from services.operations.auditing import Audit, audit
from services.storage.balance import Equation

ledger_app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich", add_completion=False)

SIDES = {
    "offsets": ("offsets moved on", "messages + lost"),
    "readings": ("decoded", "written + merged + duplicate + corrected + quarantined"),
    "quarantine": ("refused, and items made", "open + replayed + discarded + expired"),
    "recount_rows": ("rows in the tables", "rows in the books, as written"),
    "recount_quarantine": ("items in the table", "items in the books"),
}
"""What stands on either side of each equation."""
FAILING_SHOWN = 10

EPILOG = """\b
Examples:
  citytally ledger
  citytally ledger --check --audit 1000
  citytally ledger --json --since 2026-01-01
  citytally ledger acknowledge 1 --note "broker's disk was full on Monday"
  citytally ledger acknowledge --all --note "the topic was deleted and made again"
"""

ACKNOWLEDGE_EPILOG = """\b
Examples:
  citytally ledger acknowledge 3 4 --note "broker's disk was full on Monday"
  citytally ledger acknowledge --all --note "the topic was deleted and made again"
"""


@ledger_app.callback(epilog=EPILOG)
def ledger_command(
    context: typer.Context,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Exit 1, and say why, if an equation fails or a gap waits for a look."
        ),
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for programs.")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Count rows of this day (UTC) and later only: faster."
        ),
    ] = None,
    audit_messages: Annotated[
        int,
        typer.Option("--audit", min=0, help="Find all readings of so many random messages again."),
    ] = 0,
) -> None:
    """Hold what was counted against what is there, by counting again.

    Left and right are counted apart from each other: what moved on in Kafka, what became of it,
    the rows and items that are really there. An audit exits 1 if a reading is not found.
    """
    if context.invoked_subcommand is not None:
        return
    settings = Settings()
    stated, audited = _count(settings, since.date() if since else None, audit_messages)
    if json_output:
        beside = {} if audited is None else {"audit": audited.as_json()}
        typer.echo(json.dumps({**stated.as_json(), **beside}))
    else:
        show(Console(), stated, audited)
    wrong = list(problems(stated, audited, check=check))
    for problem in wrong:
        typer.echo(problem, err=True)
    if wrong:
        raise typer.Exit(WRONG)


def _count(settings: Settings, since: date | None, messages: int) -> tuple[Account, Audit | None]:
    with waiting("counting rows again"):
        stated = asyncio.run(account(settings, since))
    if not messages:
        return stated, None
    with waiting(f"finding the readings of {messages} messages"):
        return stated, asyncio.run(audit(settings, messages))


def problems(stated: Account, audited: Audit | None, *, check: bool) -> list[str]:
    """Return what makes the exit code 1, a sentence each."""
    found = []
    if check:
        found += [
            f"equation {equation.name} fails: {_places(equation.failing)}"
            for equation in stated.balance.equations
            if not equation.holds
        ]
        found += [
            f"gap {gap['gap_id']} is not acknowledged: {_gap(gap)} "
            f"(citytally ledger acknowledge {gap['gap_id']} --note TEXT, or --all)"
            for gap in stated.balance.unacknowledged
        ]
    if audited is not None:
        found += [f"audit: {_missing(failure)}" for failure in audited.failures]
    return found


@ledger_app.command("acknowledge", epilog=ACKNOWLEDGE_EPILOG)
def acknowledge_command(
    gaps: Annotated[
        list[int] | None,
        typer.Argument(metavar="[GAP…]", help="Numbers, as `citytally ledger` shows them."),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All that wait for it.")] = False,
    note: Annotated[str, typer.Option(help="What happened, for whoever reads the ledger later.")],
    by: Annotated[
        str | None, typer.Option("--who", help="Who says so. Default: the user here.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for programs.")
    ] = False,
) -> None:
    """Say that gaps were looked at: they stay in the ledger, and no longer fail --check."""
    if bool(gaps) == every:
        _refuse("name gaps, or --all")
    if not note.strip():
        _refuse("--note must say what happened")
    done = asyncio.run(acknowledge(Settings(), None if every else gaps, by or who(), note))
    if json_output:
        print_json({"acknowledged": [plain(gap) for gap in done]})
        return
    for gap in done:
        typer.echo(f"gap {gap['gap_id']} is acknowledged: {_gap(dict(gap))}")
    if not done:
        typer.echo("no gap waits to be acknowledged")


def _refuse(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(USAGE)


def show(console: Console, stated: Account, audited: Audit | None) -> None:
    """Print the balance, what failed, what stands beside it, and gaps."""
    console.print(_balance(stated))
    for equation in stated.balance.equations:
        if not equation.holds:
            console.print(Text(f"✗ {equation.name}: {_places(equation.failing)}", style="red"))
    console.print(_beside(stated))
    for gap in stated.balance.gaps:
        console.print(_gap_line(gap))
    if audited is not None:
        console.print(_audit_line(audited))


def _balance(stated: Account) -> Table:
    verdict = Text("balanced", "green") if stated.balance.balanced else Text("not balanced", "red")
    table = Table(title=Text("ledger: ") + verdict, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("equation", no_wrap=True)
    table.add_column("left")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("", justify="left", no_wrap=True)
    table.add_column("right")
    table.add_column("", no_wrap=True)
    for equation in stated.balance.equations:
        table.add_row(*_row(equation))
    return table


def _row(equation: Equation) -> tuple[str | Text, ...]:
    left, right = SIDES[equation.name]
    mark = Text("✓", style="green") if equation.holds else Text("✗", style="bold red")
    sign = "=" if equation.left == equation.right else "≠"
    return equation.name, left, _number(equation.left), sign, _number(equation.right), right, mark


def _beside(stated: Account) -> Text:
    balance = stated.balance
    in_flight = "unknown, Kafka is away" if stated.in_flight is None else _number(stated.in_flight)
    by_reason = ", ".join(
        f"{reason} {_number(n)}" for reason, n in balance.quarantine["by_reason"].items()
    )
    return Text(
        f"in flight {in_flight} · lost {_number(balance.messages['lost'])} · "
        f"QoS 0 received {_number(balance.qos0)} · open in quarantine: {by_reason or 'none'}"
    )


def _gap_line(gap: dict[str, Any]) -> Text:
    if gap["acknowledged_at"] is None:
        return Text(f"gap {gap['gap_id']}: {_gap(gap)}, not acknowledged", style="red")
    by = f"acknowledged by {gap['acknowledged_by']}: {gap['note']}"
    return Text(f"gap {gap['gap_id']}: {_gap(gap)}, {by}", style="dim")


def _gap(gap: dict[str, Any]) -> str:
    where = f"{gap['topic']}/{gap['generation']}/{gap['partition']}"
    if gap["next_offset"] is None:
        return f"the log of {where} was replaced after offset {gap['first_offset']}, loss unknown"
    lost = gap["next_offset"] - gap["first_offset"]
    return f"{_number(lost)} records of {where} from {gap['first_offset']} on expired unread"


def _audit_line(audited: Audit) -> Text:
    looked = f"{_number(audited.readings)} readings of {_number(audited.messages)} messages"
    if audited.holds:
        return Text(f"audit: {looked}, every one found ✓", style="green")
    return Text(f"audit: {looked}, {len(audited.failures)} failures ✗", style="bold red")


def _missing(failure: dict[str, Any]) -> str:
    where = f"partition {failure['partition']} offset {failure['offset']} ({failure['topic']})"
    return f"{where}: {failure['detail']}"


def _places(failing: list[dict[str, Any]]) -> str:
    shown = "; ".join(
        ", ".join(f"{name} {value}" for name, value in place.items())
        for place in failing[:FAILING_SHOWN]
    )
    more = len(failing) - FAILING_SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown


def _number(n: int) -> str:
    return f"{n:,}".replace(",", " ")
