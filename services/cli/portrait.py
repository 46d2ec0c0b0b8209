"""All that is known of one device, as a person and as a program reads it."""

import json
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.channels import CHANNELS, TEXT_COLUMNS
from services.cli.shown import counts_text, plain, time_text
from services.storage.registry import Portrait

_OF_A_VERSION = ("device_type", "name", "owner", "licence", "station_class", "origin",
                 "data_from", "expected_from")  # fmt: skip
_JSON_COLUMNS = ("quality_flags", "extra")


def as_json(found: Portrait) -> dict[str, Any]:
    """Return versions (newest first), deployments, newest readings by kind, open refusals."""
    return {
        "versions": [plain(row) for row in found.versions],
        "deployments": [plain(row) for row in found.deployments],
        "newest": {kind: _reading(row) for kind, row in found.newest.items()},
        "open": found.open_items,
    }


def show(console: Console, device_id: str, found: Portrait) -> None:
    """Print it."""
    console.print(Text(device_id, style="bold"))
    if found.versions:
        _show_current(console, found.versions)
    else:
        console.print("  not registered: `citytally devices add` registers it", style="yellow")
    _show_deployments(console, found.deployments)
    for kind, row in found.newest.items():
        _show_newest(console, kind, row)
    if found.open_items:
        console.print(f"\nopen in quarantine: {counts_text(found.open_items)}", style="red")
        console.print(f"  `citytally quarantine list --device {device_id}` shows them", style="dim")


def _show_current(console: Console, versions: list[asyncpg.Record]) -> None:
    for name in _OF_A_VERSION:
        value = plain(versions[0])[name]
        if value is not None:
            console.print(f"  {name:<15} {value}", highlight=False, markup=False)
    if len(versions) > 1:
        table = Table("former version", *_OF_A_VERSION[:6], box=None, padding=(0, 2, 0, 0))
        for row in versions[1:]:
            table.add_row(time_text(row["stored_at"]), *[row[name] for name in _OF_A_VERSION[:6]])
        console.print(table)


def _show_deployments(console: Console, deployments: list[asyncpg.Record]) -> None:
    if not deployments:
        return
    table = Table("part", "site", "area", "from", "to", "every", box=None, padding=(0, 2, 0, 2))
    for row in deployments:
        interval = row["expected_interval_s"]
        table.add_row(
            row["part"] or "(whole)", row["site"] or row["site_id"], row["area"],
            time_text(row["valid_from"])[:16], time_text(row["valid_to"])[:16],
            "" if interval is None else f"{interval:g} s",
        )  # fmt: skip
    console.print("\ndeployments")
    console.print(table)


def _show_newest(console: Console, kind: str, row: asyncpg.Record) -> None:
    part = f" part {row['part']}" if row["part"] else ""
    received = time_text(row["received_at"])
    console.print(
        f"\nnewest {kind} reading{part}: {time_text(row['time'])}, received {received}",
        highlight=False,
    )
    channels = CHANNELS[kind]
    for name in (*channels, *TEXT_COLUMNS[kind]):
        if row[name] is not None:
            unit = channels[name].unit if name in channels else ""
            value = f"{row[name]:.12g}" if name in channels else row[name]
            console.print(f"  {name:<22} {value} {unit}", highlight=False, markup=False)


def _reading(row: asyncpg.Record) -> dict[str, Any]:
    shown = {name: value for name, value in plain(row).items() if value is not None}
    return shown | {name: json.loads(shown[name]) for name in _JSON_COLUMNS if name in shown}
