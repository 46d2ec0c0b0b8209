"""``citytally quarantine``: what was refused, as work: look, mend, replay, accept, let go."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

from schemas.reasons import Reason
from services.cli import item_text
from services.cli.database import with_database
from services.cli.failures import USAGE, WRONG
from services.cli.progress import shown
from services.cli.shown import (
    columns,
    console,
    counts_text,
    plain,
    print_json,
    time_text,
    who,
)
from services.common.settings import Settings
from services.operations import mending
from services.operations.mending import Attempt, Replayed

quarantine_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", add_completion=False)

ANY = "any"
LIST_EPILOG = """\b
Examples:
  citytally quarantine list
  citytally quarantine list --reason schema --device station-7
  citytally quarantine list --state any --limit 500 --json
"""
SHOW_EPILOG = """\b
Examples:
  citytally quarantine show 17
  citytally quarantine show 17 --payload > message.json
"""
REPLAY_EPILOG = """\b
Examples:
  citytally quarantine replay 17 18
  citytally quarantine replay --reason unknown_device
  citytally quarantine replay 17 --mended message.json
  citytally quarantine show 17 --payload | sed s/,}/}/ | citytally quarantine replay 17 --mended -
"""
ACCEPT_EPILOG = """\b
Examples:
  citytally quarantine accept 17 --note "the probe was calibrated, its second value is right"
"""
DISCARD_EPILOG = """\b
Examples:
  citytally quarantine discard 17 18 --note "test messages from the workshop"
"""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Items = Annotated[list[int], typer.Argument(metavar="ITEM…", help="Numbers, as list shows them.")]


@quarantine_app.callback()
def quarantine() -> None:
    """What was refused: look, mend, replay, accept, let go."""


@quarantine_app.command("list", epilog=LIST_EPILOG)
def list_command(
    *,
    reason: Annotated[Reason | None, typer.Option(help="Why it was refused.")] = None,
    device: Annotated[str | None, typer.Option(help="Whose reading it is.")] = None,
    state: Annotated[
        str, typer.Option(help=f"open, replayed, discarded, expired, or {ANY}.")
    ] = "open",
    limit: Annotated[int, typer.Option(min=1, help="So many at most, newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List refused messages and readings, newest first."""

    async def work(connection: asyncpg.Connection) -> list[asyncpg.Record]:
        return await mending.list_items(
            connection,
            reason=reason,
            device_id=device,
            state=None if state == ANY else state,
            limit=limit,
        )

    rows = with_database(Settings(), "read", work)
    if as_json:
        print_json([plain(row) for row in rows])
    elif rows:
        _print_list(rows, limit)
    else:
        typer.echo("nothing is there")


def _print_list(rows: list[asyncpg.Record], limit: int) -> None:
    told = [
        {
            "item": str(row["item_id"]),
            "reason": row["reason"],
            "state": row["state"],
            "device": row["device_id"] or row["mqtt_topic"],
            "received": time_text(row["received_at"])[:19],
            "why": row["detail"],
        }
        for row in rows
    ]
    console().print(columns(told, "why"))
    if len(rows) == limit:
        console().print(f"the newest {limit}; --limit shows more", style="dim", highlight=False)


@quarantine_app.command("show", epilog=SHOW_EPILOG)
def show_command(
    item_id: Annotated[int, typer.Argument(metavar="ITEM", help="Its number.")],
    *,
    payload: Annotated[
        bool, typer.Option("--payload", help="Write the message's bytes, and nothing else.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one item: why it was refused, where exactly, and the message as it arrived."""

    async def work(connection: asyncpg.Connection) -> asyncpg.Record:
        return await mending.item(connection, item_id)

    row = with_database(Settings(), "read", work)
    if payload:
        sys.stdout.buffer.write(row["payload"])
        sys.stdout.buffer.flush()
    elif as_json:
        print_json(item_text.as_json(row))
    else:
        item_text.show(console(), row)


@quarantine_app.command("replay", epilog=REPLAY_EPILOG)
def replay_command(
    item_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ITEM…]", help="Numbers, as list shows them.")
    ] = None,
    *,
    reason: Annotated[Reason | None, typer.Option(help="All that were refused for this.")] = None,
    device: Annotated[str | None, typer.Option(help="All of this device.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    mended: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Mended payload of one item; - reads standard input."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run refused messages again with today's code and registry.

    What goes well is stored and leaves quarantine; what is refused again stays, and counts nothing.
    Exit 1: something stayed.
    """
    items = item_ids or []
    if bool(items) == bool(reason or device or every):
        _refuse("name items, or --reason, --device or --all")
    if mended is not None and len(items) != 1:
        _refuse("--mended takes the place of one message: name one ITEM")
    attempt = Attempt(who(), mended=None if mended is None else _read(mended))
    done = _replay(items, reason, device, attempt)
    if as_json:
        print_json(
            {"closed": done.closed, "still_open": dict(Counter(done.still_open)),
             "readings": done.readings}
        )  # fmt: skip
    else:
        _tell(done)
    if done.still_open:
        raise typer.Exit(WRONG)


def _replay(
    items: list[int], reason: Reason | None, device: str | None, attempt: Attempt
) -> Replayed:
    settings = Settings()

    async def work(connection: asyncpg.Connection) -> Replayed:
        messages = (
            await _messages(connection, items)
            if items
            else await mending.select_open(connection, reason=reason, device_id=device)
        )
        total, readings = Replayed(), Counter[str]()
        with shown("replaying", len(messages)) as progress:
            for n, message_id in enumerate(messages, 1):
                done = await mending.replay_message(connection, settings, message_id, attempt)
                total.closed += done.closed
                total.still_open += done.still_open
                readings.update(done.readings)
                progress.advance_to(n)
        total.readings = dict(readings)
        return total

    return with_database(settings, "operate", work)


async def _messages(connection: asyncpg.Connection, items: list[int]) -> list[int]:
    """Return the items' messages, each once."""
    found = [(await mending.item(connection, item_id))["message_id"] for item_id in items]
    return list(dict.fromkeys(found))


def _tell(done: Replayed) -> None:
    stored = counts_text(done.readings)
    typer.echo(f"{done.closed} items left quarantine{f' ({stored})' if stored else ''}")
    if done.still_open:
        typer.echo(f"still refused: {counts_text(Counter(done.still_open))}")


@quarantine_app.command("accept", epilog=ACCEPT_EPILOG)
def accept_command(
    item_ids: Items,
    *,
    note: Annotated[str | None, typer.Option(help="Why the new values are right.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Let a conflict's new values replace the stored ones; the former are kept as a revision."""
    settings = Settings()

    async def work(connection: asyncpg.Connection) -> list[Replayed]:
        return [
            await mending.accept(connection, settings, item_id, who(), note) for item_id in item_ids
        ]

    done = with_database(settings, "operate", work)
    readings: Counter[str] = Counter()
    for each in done:
        readings.update(each.readings)
    closed = sum(each.closed for each in done)
    if as_json:
        print_json({"closed": closed, "readings": dict(readings)})
    else:
        typer.echo(f"{closed} conflicts accepted ({counts_text(readings)})")


@quarantine_app.command("discard", epilog=DISCARD_EPILOG)
def discard_command(
    item_ids: Items,
    *,
    note: Annotated[str, typer.Option(help="Why they may go; it stays in the books.")],
    as_json: JsonOption = False,
) -> None:
    """Close items for good. Their bytes and the note stay to be seen."""

    async def work(connection: asyncpg.Connection) -> int:
        await _messages(connection, item_ids)
        return await mending.discard(connection, item_ids, who(), note)

    closed = with_database(Settings(), "operate", work)
    if as_json:
        print_json({"discarded": closed})
    else:
        typer.echo(f"{closed} of {len(item_ids)} items discarded; the others were closed before"
                   if closed < len(item_ids) else f"{closed} items discarded")  # fmt: skip


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--mended") from error


def _refuse(message: str) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(USAGE)
