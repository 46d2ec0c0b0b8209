"""Half-hourly speed tests of one Telstra cable line in Brisbane.

Stamps are AEST, UTC+10 all year (Queensland keeps no summer time). No row is no test: a gap in the
file stays a gap. The test's length comes from its two stamps.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta, timezone
from decimal import Decimal
from pathlib import Path

from schemas.registry import Deployment, Device, Origin, Site
from services.operations.replaying import table
from services.operations.replaying.recording import (
    RecordedReading,
    Recording,
    recording,
    streaming,
    survey,
)
from services.operations.replaying.table import Columns, Row

COLUMNS = Columns(
    "telstra",
    (
        "datetimestart",
        "datetimestop",
        "provider",
        "server",
        "distance",
        "ping",
        "download",
        "upload",
    ),
    quoted=True,
)
LICENCE = "CC BY 4.0"
DEVICE_ID = "telstra-brisbane"
AEST = timezone(timedelta(hours=10), "AEST")

_INTERVAL_S = 1800
_NAME = "Telstra cable line in Brisbane"


def read(paths: Sequence[Path]) -> Recording:
    """Read speed test files (or folders of them).

    Raises:
        WrongFormatError: a file is no such file.
        EmptyRecordingError: there is no reading in any of them.
    """
    found = survey(table.files_in(paths), COLUMNS, parse)
    first_at = found.device_first_at(DEVICE_ID)
    return recording(
        found,
        devices=[
            Device(
                DEVICE_ID,
                device_type="speedtest-line",
                name=_NAME,
                licence=LICENCE,
                origin=Origin.RECORDED,
                data_from=first_at,
            )
        ],
        sites=[Site(DEVICE_ID, name=_NAME)],
        deployments=[
            Deployment(
                DEVICE_ID, "", DEVICE_ID, valid_from=first_at, expected_interval_s=_INTERVAL_S
            )
        ],
        stream=streaming(found, COLUMNS, parse),
        notices=["the line's place is not published: its site has no coordinates"],
    )


def parse(row: Row) -> RecordedReading:
    """Return the reading of a row.

    Raises:
        BadRowError: the row is none.
    """
    fields = row.named()
    return RecordedReading(
        kind="broadband",
        device_id=DEVICE_ID,
        part="",
        time=table.stamp(fields["datetimestart"], AEST),
        interval_s=None,
        values=table.measured(_values(fields)),
        texts={
            name: fields[column].strip()
            for column, name in (("server", "server"), ("provider", "isp"))
            if fields[column].strip().lower() not in table.MISSING_MARKS
        },
        extra=dict(table.measured([("distance_km", table.number("distance", fields["distance"]))])),
    )


def _values(fields: dict[str, str]) -> Iterator[tuple[str, Decimal | None]]:
    yield "download_mbps", table.number("download", fields["download"])
    yield "upload_mbps", table.number("upload", fields["upload"])
    yield "latency_ms", table.number("ping", fields["ping"])
    if fields["datetimestop"].strip().lower() not in table.MISSING_MARKS:
        lasted = table.stamp(fields["datetimestop"], AEST) - table.stamp(
            fields["datetimestart"], AEST
        )
        yield "duration_s", Decimal(str(lasted.total_seconds()))
