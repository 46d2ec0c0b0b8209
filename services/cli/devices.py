"""``citytally devices``: register devices, list them, look at one."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer

from services.cli import portrait
from services.cli.database import with_database
from services.cli.failures import USAGE
from services.cli.progress import Progress, shown
from services.cli.shown import columns, console, counts_text, plain, print_json, time_text, who
from services.common.settings import Settings
from services.operations.device_rows import Row, read_rows
from services.operations.registering import Outcome, register_rows
from services.storage import registry
from services.storage.registry import Portrait

devices_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", add_completion=False)

ADD_EPILOG = """\b
Examples:
  citytally devices add station-7 --type environmental-station --site park
  citytally devices add probe-3 --type broadband-probe --owner "City of Thuận An"
  citytally devices add --file devices.csv
  citytally devices add --file - < devices.jsonl

A file has a device a line, as JSON or as CSV with these columns: device_id device_type name owner
licence station_class origin data_from expected_from site_id site_name latitude longitude
altitude_m area road_segment part deployed_from height_m exposure expected_interval_s schedule
firmware. Only device_id must be there.
"""
LIST_EPILOG = """\b
Examples:
  citytally devices list
  citytally devices list --origin simulated --type traffic-counter --json
"""
SHOW_EPILOG = """\b
Examples:
  citytally devices show station-7
  citytally devices show station-7 --json | jq .newest
"""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@devices_app.callback()
def devices() -> None:
    """Register devices and look at them."""


@devices_app.command("add", epilog=ADD_EPILOG)
def add_command(
    device_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The device, as it names itself in topics.")
    ] = None,
    *,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Many devices, a line each (JSON or CSV); - reads standard input."
        ),
    ] = None,
    device_type: Annotated[
        str | None, typer.Option("--type", help="Model; default generic.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose it is.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of its data.")] = None,
    station_class: Annotated[
        str | None, typer.Option(help="regulatory or indicative (default).")
    ] = None,
    origin: Annotated[
        str | None, typer.Option(help="real (default), simulated or recorded.")
    ] = None,
    data_from: Annotated[
        str | None, typer.Option(metavar="TIME", help="Readings before are too old (RFC 3339).")
    ] = None,
    expected_from: Annotated[
        str | None, typer.Option(metavar="TIME", help="Its silence counts from here; default now.")
    ] = None,
    site: Annotated[str | None, typer.Option(metavar="SITE", help="Where it stands.")] = None,
    site_name: Annotated[str | None, typer.Option(help="What people call the place.")] = None,
    latitude: Annotated[float | None, typer.Option(help="Of the place, degrees.")] = None,
    longitude: Annotated[float | None, typer.Option(help="Of the place, degrees.")] = None,
    area: Annotated[str | None, typer.Option(help="Ward or district of the place.")] = None,
    road_segment: Annotated[str | None, typer.Option(help="Road segment of the place.")] = None,
    part: Annotated[str | None, typer.Option(help="Which of its parts stands there.")] = None,
    height_m: Annotated[float | None, typer.Option(help="Height above ground.")] = None,
    expected_interval_s: Annotated[
        float | None, typer.Option(help="How often it reports; coverage counts by it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Register a device, or many, and replay what they had sent before.

    A device that is known keeps what is not named here; what differs becomes a new version.
    """
    options = {
        "device_id": device_id, "device_type": device_type, "name": name, "owner": owner,
        "licence": licence, "station_class": station_class, "origin": origin,
        "data_from": data_from, "expected_from": expected_from, "site_id": site,
        "site_name": site_name, "latitude": latitude, "longitude": longitude, "area": area,
        "road_segment": road_segment, "part": part, "height_m": height_m,
        "expected_interval_s": expected_interval_s,
    }  # fmt: skip
    rows = _rows(file, {field: value for field, value in options.items() if value is not None})
    outcome = _register(rows)
    if as_json:
        print_json(outcome.as_json())
    else:
        _tell(outcome)


def _rows(file: str | None, options: dict[str, Any]) -> list[Row]:
    if (file is None) == (not options):
        typer.echo("name one device, or many with --file FILE (or -)", err=True)
        raise typer.Exit(USAGE)
    if file is None:
        return [options]
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, PermissionError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file}: {error}", param_hint="--file") from error
    return read_rows(text)


def _register(rows: list[Row]) -> Outcome:
    settings = Settings()
    with ExitStack() as opened:
        bars: list[Progress] = []

        def on_replay(done: int, of: int) -> None:
            if not bars:  # only now it is known that there is something to replay, and how much
                bars.append(opened.enter_context(shown("replaying what they had sent", of)))
            bars[0].advance_to(done)

        async def work(connection: asyncpg.Connection) -> Outcome:
            return await register_rows(connection, settings, rows, who(), on_replay)

        return with_database(settings, "operate", work)


def _tell(outcome: Outcome) -> None:
    done = outcome.registered
    typer.echo(
        f"registered {done.new_devices} new and {done.changed_devices} changed devices, "
        f"{done.sites} sites, {done.deployments} deployments"
    )
    if not outcome.waited:
        return
    stored = counts_text(outcome.readings) or "by ingest itself"
    typer.echo(f"of {outcome.waited} refused items {outcome.closed} are mended ({stored})")
    if outcome.still_open:
        typer.echo(f"still refused: {counts_text(outcome.still_open)}")


@devices_app.command("list", epilog=LIST_EPILOG)
def list_command(
    *,
    origin: Annotated[str | None, typer.Option(help="real, simulated or recorded.")] = None,
    device_type: Annotated[str | None, typer.Option("--type", help="Model.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """List current devices and where they stand."""

    async def work(connection: asyncpg.Connection) -> list[asyncpg.Record]:
        return await registry.list_devices(
            connection, origin=origin, device_type=device_type, limit=limit
        )

    rows = with_database(Settings(), "read", work)
    if as_json:
        print_json([plain(row) for row in rows])
        return
    if not rows:
        typer.echo("no devices; `citytally devices add` registers one")
        return
    told = [
        {
            "device": row["device_id"],
            "type": row["device_type"],
            "origin": row["origin"],
            "area": row["area"] or "",
            "data from": time_text(row["data_from"])[:10],
            "name": row["name"] or "",
        }
        for row in rows
    ]
    console().print(columns(told, "name"))


@devices_app.command("show", epilog=SHOW_EPILOG)
def show_command(
    device_id: Annotated[str, typer.Argument(metavar="ID", help="The device.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show a device: its versions, where it stood, its newest readings, and what was refused."""

    async def work(connection: asyncpg.Connection) -> Portrait:
        return await registry.portrait(connection, device_id)

    found = with_database(Settings(), "read", work)
    if not found.versions and not found.open_items:
        typer.echo(
            f"there is no device {device_id}, and nothing of it waits in quarantine", err=True
        )
        raise typer.Exit(USAGE)
    if as_json:
        print_json(portrait.as_json(found))
    else:
        portrait.show(console(), device_id, found)
