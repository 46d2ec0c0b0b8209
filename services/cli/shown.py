"""Values as people and programs read them."""

import getpass
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_OF_A_FILE = 200


def console() -> Console:
    """Return a console that does not fold lines where no terminal has a width."""
    told = Console()
    return told if told.is_terminal else Console(width=WIDTH_OF_A_FILE)


def time_text(moment: datetime | None) -> str:
    """Return a time in UTC to the millisecond; empty where there is none, or it is infinite."""
    if moment is None or moment.tzinfo is None:  # asyncpg gives infinity as a time without zone
        return ""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(row: asyncpg.Record | Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with times as texts, for JSON."""
    return {
        name: (time_text(value) or None) if isinstance(value, datetime) else value
        for name, value in dict(row).items()
    }


def columns(rows: Iterable[Mapping[str, str]], last: str) -> Table:
    """Return rows as a table without lines, in which only the last column gives way."""
    told = list(rows)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in told[0] if told else ():
        table.add_column(title, no_wrap=True)
    room = console().width - sum(
        max(len(title), *(len(row[title]) for row in told)) + 2
        for title in told[0]
        if title != last
    )
    for row in told:
        cut = row[last] if len(row[last]) <= room else row[last][: max(room - 1, 1)] + "…"
        table.add_row(*[Text(cut if title == last else row[title]) for title in row])
    return table


def print_json(value: object) -> None:
    """Print one JSON value on a line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def counts_text(counts: Mapping[str, int] | Iterable[tuple[str, int]]) -> str:
    """Return counts as `3 written, 1 duplicate`."""
    return ", ".join(f"{n} {name}" for name, n in dict(counts).items() if n)


def who() -> str:
    """Return who sits here, as the books note it."""
    return getpass.getuser()
