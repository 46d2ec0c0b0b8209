"""One quarantine item, as a person and as a program reads it."""

import base64
from typing import Any

import asyncpg
from rich.console import Console
from rich.text import Text

from services.cli.shown import plain, time_text
from services.operations import excerpts

SHOWN_CHARACTERS = 600


def as_json(row: asyncpg.Record) -> dict[str, Any]:
    """Return the item; payloads as text where they are UTF-8, else in base64."""
    shown = plain(row)
    for name in ("payload", "mended_payload"):
        raw = shown.pop(name)
        if raw is not None:
            shown |= _payload(name, raw)
    return shown


def show(console: Console, row: asyncpg.Record) -> None:
    """Print what it is, why it was refused and where, and the message."""
    console.print(Text(f"item {row['item_id']}: {row['reason']}, {row['state']}", style="bold"))
    for name, value in _facts(row):
        console.print(Text.assemble((f"  {name:<9}", "bright_black"), value))
    _show_place(console, row)
    console.print(Text("  payload", style="bright_black"))
    console.print(Text("    " + excerpts.beginning(row["payload"], SHOWN_CHARACTERS)))
    if row["mended_payload"] is not None:
        console.print(Text("  mended", style="bright_black"))
        console.print(Text("    " + excerpts.beginning(row["mended_payload"], SHOWN_CHARACTERS)))


def _facts(row: asyncpg.Record) -> list[tuple[str, str]]:
    received = f"received {time_text(row['received_at'])}"
    source = f"{row['topic']}/{row['generation']}/{row['partition']}"
    facts = [
        ("why", row["detail"]),
        ("reading", _reading(row)),
        ("message", f"{row['mqtt_topic']}, {len(row['payload'])} bytes, {received}"),
        ("record", f"{source} offset {row['kafka_offset']}"),
        ("oversize", row["oversize"]),
        ("refused", row["refused"]),
        (row["state"], _end(row)),
    ]
    return [(name, value) for name, value in facts if value]


def _reading(row: asyncpg.Record) -> str | None:
    if row["position"] is None:
        return None
    part = f" part {row['part']}" if row["part"] else ""
    at = time_text(row["time"]) or "no time"
    return f"number {row['position']}, {row['kind']} of {row['device_id']}{part} at {at}"


def _end(row: asyncpg.Record) -> str | None:
    if row["closed_at"] is None:
        return None
    note = f": {row['note']}" if row["note"] else ""
    return f"{time_text(row['closed_at'])} by {row['closed_by']}{note}"


def _show_place(console: Console, row: asyncpg.Record) -> None:
    if row["byte_position"] is not None:
        excerpt = excerpts.at_byte(row["payload"], row["byte_position"])
        console.print(Text(f"  at byte {row['byte_position']}", style="bright_black"))
        console.print(Text(f"    {excerpt.line}"), no_wrap=True)
        console.print(Text(f"    {' ' * excerpt.caret}^", style="red"))
    elif row["path"] is not None:
        value = excerpts.at_path(row["payload"], row["path"])
        said = "" if value is None else f" is {excerpts.beginning(value.encode(), 200)}"
        console.print(Text.assemble(("  at       ", "bright_black"), (row["path"], "red"), said))


def _payload(name: str, raw: bytes) -> dict[str, str]:
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(raw).decode()}
