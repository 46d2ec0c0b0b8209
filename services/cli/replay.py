"""``citytally replay``: recorded files, through MQTT and the whole pipeline."""

import asyncio
import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from services.cli.progress import Progress, shown
from services.common import lifecycle
from services.common.mqtt import BrokerRefusedError
from services.common.publisher import Publisher
from services.common.settings import MissingSecretError, Settings
from services.operations.replaying import register
from services.operations.replaying.formats import FORMATS
from services.operations.replaying.pacing import Pace
from services.operations.replaying.play import Played, replay, shift_of
from services.operations.replaying.recording import EmptyRecordingError, Recording, rfc3339
from services.operations.replaying.table import WrongFormatError
from services.operations.stack.mosquitto import OPERATOR
from services.storage.failures import UnavailableError

SERVER_NOT_REACHED = 3
WRONG_USAGE = 2
NOT_ALL_PUBLISHED = 1


def replay_command(
    format_name: Annotated[
        str, typer.Argument(metavar="FORMAT", help=f"One of {', '.join(FORMATS)}.")
    ],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="Recorded files, or folders of them.", exists=True),
    ],
    rate: Annotated[
        float, typer.Option(min=0, help="Messages a second; 0: as fast as it goes.")
    ] = 0.0,
    speed: Annotated[
        float,
        typer.Option(
            min=0, help="Times real time, by the recorded stamps; 0: without regard to them."
        ),
    ] = 0.0,
    shift_to: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="The first stamp becomes TIME (RFC 3339, or `now`), all move alike.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Publish recorded data over MQTT, each row a message, as if its devices sent it.

    Devices, sites and deployments are registered from the files (origin recorded). The same files
    again store nothing new: every reading counts as a duplicate.

    For example:

    citytally replay sensor-community recorded/air/

    citytally replay citypulse AarhusTrafficData158446.stream.csv --rate 500

    citytally replay telstra speedtests.csv --shift-to 2026-01-01T00:00:00Z --speed 3600
    """
    recording = _read(format_name, files)
    start = _time(shift_to)
    _say_beforehand(recording, start)
    pace = Pace(rate=rate, speed=speed)
    settings = Settings()
    played: list[Played] = []

    async def main(stop: asyncio.Event) -> int:
        played.append(await _publish(settings, recording, pace, start, stop))
        return 0

    try:
        lifecycle.run(main)
    except (OSError, BrokerRefusedError, MissingSecretError, UnavailableError) as error:
        typer.echo(f"server not reached: {error}", err=True)
        raise typer.Exit(SERVER_NOT_REACHED) from error
    _report(played[0], recording, as_json=as_json)
    if not played[0].complete:
        raise typer.Exit(NOT_ALL_PUBLISHED)


async def _publish(
    settings: Settings,
    recording: Recording,
    pace: Pace,
    shift_to: datetime | None,
    stop: asyncio.Event,
) -> Played:
    publisher = Publisher(
        settings.mqtt_host,
        settings.mqtt_port,
        user=OPERATOR,
        password=settings.secret(OPERATOR),
        client_id=f"citytally-replay-{datetime.now(UTC):%H%M%S%f}",
    )
    async with publisher:
        with shown("replaying", recording.count) as progress:
            return await replay(
                recording,
                publisher,
                register.in_database(settings),
                pace=pace,
                shift_to=shift_to,
                stop=stop,
                on_progress=lambda played: _advance(progress, played),
            )


def _advance(progress: Progress, played: Played) -> None:
    at = "" if played.reached is None else rfc3339(played.reached)
    progress.advance_to(played.acknowledged, at)


def _read(format_name: str, files: list[Path]) -> Recording:
    read = FORMATS.get(format_name)
    if read is None:
        _refuse(f"unknown format {format_name!r}: choose {' or '.join(FORMATS)}")
    try:
        return read(files)
    except (WrongFormatError, EmptyRecordingError, OSError) as error:
        _refuse(str(error))


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    if text == "now":
        return datetime.now(UTC).replace(microsecond=0)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        _refuse(f"--shift-to {text!r} is no time: write it as 2026-01-01T00:00:00Z")
    if at.tzinfo is None:
        _refuse(f"--shift-to {text} must say its zone: write {text}Z for UTC")
    return at.astimezone(UTC)


def _refuse(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(WRONG_USAGE)


def _say_beforehand(recording: Recording, shift_to: datetime | None) -> None:
    shift = shift_of(recording, shift_to)
    typer.echo(
        f"{recording.count} readings of {len(recording.devices)} devices, "
        f"{rfc3339(recording.first_at + shift)} to {rfc3339(recording.last_at + shift)}",
        err=True,
    )
    for notice in (*recording.notices, *recording.skipped.examples):
        typer.echo(notice, err=True)


def _report(played: Played, recording: Recording, *, as_json: bool) -> None:
    if as_json:
        shape = dataclasses.asdict(played) | {
            "reached": played.reached and rfc3339(played.reached),
            "devices": [device.device_id for device in recording.devices],
        }
        typer.echo(json.dumps(shape))
        return
    typer.echo(
        f"published {played.published} of {played.total} readings, "
        f"{played.acknowledged} acknowledged, {played.refused} refused by the broker"
    )
    for reason, n in played.skipped.items():
        typer.echo(f"skipped {n} rows: {reason}")
    if played.interrupted:
        reached = "the start" if played.reached is None else rfc3339(played.reached)
        typer.echo(f"interrupted at {reached}; run it again: what is stored counts as duplicate")
