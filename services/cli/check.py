"""``citytally check``: what would become of one message."""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.channels import CHANNELS
from services.common.settings import Settings
from services.decoding.judging import Device
from services.decoding.times import TimeError, parse_rfc3339
from services.operations.checking import check, device_of_row, exit_code

STANDARD_INPUT = "-"


def check_command(
    topic: Annotated[str, typer.Option(help="MQTT topic that the message came on.")],
    file: Annotated[str, typer.Argument(help="The payload; - reads standard input.")] = "-",
    device: Annotated[
        Path | None, typer.Option(help="Registry row of the device, a JSON object.")
    ] = None,
    received_at: Annotated[
        str | None,
        typer.Option(help="When it was received (RFC 3339): judges whether its time is ahead."),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for programs.")
    ] = False,
) -> None:
    """Decode one message exactly as production would; write nothing, need no server.

    Exit 0: sound. Exit 1: the message or a reading would be refused; the reason says why.

    For example:

    citytally check --topic citytally/v1/environmental/station-1 message.json

    mosquitto_sub … -C 1 | citytally check --topic citytally/v1/traffic/counter-7

    citytally check --topic citytally/v1/broadband/p-3 --received-at 2024-01-22T07:00:00Z m.json
    """
    settings = Settings()
    result = check(
        topic,
        _payload(file),
        device=_device(device, settings.zone),
        received_at=_time(received_at),
        zone=settings.zone,
        message_bytes=settings.message_bytes,
        future_tolerance=timedelta(seconds=settings.future_tolerance_s),
    )
    if json_output:
        print(json.dumps(result, allow_nan=False))
    else:
        _show(Console(), result)
    raise typer.Exit(exit_code(result))


def _payload(file: str) -> bytes:
    if file == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    return _read(Path(file), "FILE")


def _read(path: Path, hint: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint=hint) from error


def _device(path: Path | None, zone: str) -> Device | None:
    if path is None:
        return None
    try:
        return device_of_row(_read(path, "--device"), zone)
    except ValueError as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--device") from error


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_rfc3339(text)
    except TimeError as error:
        raise typer.BadParameter(str(error), param_hint="--received-at") from error


def _show(console: Console, result: dict[str, Any]) -> None:
    console.print(_headline(result))
    for name, value in result["health"].items():
        console.print(Text(f"  {name} {value}"))
    for reading in result["readings"]:
        console.print()
        console.print(_title(reading))
        if reading["values"] or reading["texts"] or reading["flags"] or reading["extra"]:
            console.print(_contents(reading))
        elif not reading["reason"]:
            console.print(Text("  without values: a measured 'no data'", style="dim"))


def _headline(result: dict[str, Any]) -> Text:
    convention = result["convention"] or "no convention"
    if result["reason"]:
        return _refused(f"{convention}: quarantined", result)
    if result["outcome"] == "liveness":
        return Text(f"{convention}: a sign of life, no reading", style="green")
    readings = result["readings"]
    refused = sum(reading["reason"] is not None for reading in readings)
    counts = f"readings {len(readings)}, of them refused {refused}"
    return Text(f"{convention}: {counts}", style="red" if refused else "green")


def _title(reading: dict[str, Any]) -> Text:
    part = f" part {reading['part']}" if reading["part"] else ""
    interval = f" for {reading['interval_s']:g} s" if reading["interval_s"] is not None else ""
    name = f"{reading['kind']} {reading['device_id']}{part}"
    title = f"{name} at {reading['time'] or 'no time'}{interval}"
    return _refused(title, reading) if reading["reason"] else Text(title, style="bold")


def _refused(title: str, refused: dict[str, Any]) -> Text:
    where = f" at {refused['path']}" if refused["path"] else ""
    return Text(f"{title}\n  {refused['reason']}{where}: {refused['detail']}", style="red")


def _contents(reading: dict[str, Any]) -> Table:
    table = Table("channel", "value", "unit", "flag")
    flags, channels = reading["flags"], CHANNELS[reading["kind"]]
    for name, value in reading["values"].items():
        table.add_row(name, f"{value:.12g}", channels[name].unit, _flag(flags.get(name)))
    for name in [name for name in flags if name not in reading["values"]]:
        original = f"withheld: {flags[name]['original']:.12g}"
        table.add_row(name, original, flags[name]["original_unit"], _flag(flags[name]))
    for name, text in [*reading["texts"].items(), *reading["extra"].items()]:
        kept = "" if name in reading["texts"] else "kept in extra"
        table.add_row(
            Text(name), Text(text if isinstance(text, str) else json.dumps(text)), "", kept
        )
    return table


def _flag(flag: dict[str, Any] | None) -> Text:
    if flag is None:
        return Text("")
    return Text(f"{flag['flag']} {flag['why']}", style="yellow")
