"""CityPulse Aarhus: five-minute traffic between two Bluetooth readers, one file a road segment.

Stamps carry no zone; the daily curve says UTC. ``status`` is always OK and says nothing. While no
vehicle is counted the source carries its last speed and travel times on, so:

- count 0 and speed 0: nothing was known, a reading without values;
- count 0 and a speed: a measured zero; speed and travel time are no measurements and are left out;
- otherwise everything stands as published.

A segment's site lies half way between its end points; its ``road_segment`` is the line between
them. Both come from ``trafficMetaData.csv``, given among the files or found beside them.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from schemas.registry import DEVICE_ID, Deployment, Device, Origin, Site
from services.operations.replaying import table
from services.operations.replaying.recording import (
    RecordedReading,
    Recording,
    Survey,
    recording,
    streaming,
    survey,
)
from services.operations.replaying.table import BadRowError, Columns, Row

COLUMNS = Columns(
    "citypulse",
    ("avgMeasuredTime", "avgSpeed", "medianMeasuredTime", "TIMESTAMP", "vehicleCount", "REPORT_ID"),
)
METADATA = "trafficMetaData.csv"
METADATA_COLUMNS = Columns(
    "citypulse metadata",
    (
        "REPORT_ID",
        "REPORT_NAME",
        "POINT_1_STREET",
        "POINT_1_CITY",
        "POINT_1_LAT",
        "POINT_1_LNG",
        "POINT_2_STREET",
        "POINT_2_LAT",
        "POINT_2_LNG",
    ),
    quoted=True,
)
LICENCE = "CC BY 4.0"
OWNER = "CityPulse, City of Aarhus"

_INTERVAL_S = 300
_DIGITS = 6  # of a degree: a decimetre


def read(paths: Sequence[Path]) -> Recording:
    """Read segment files (or folders of them), and the metadata among or beside them.

    Raises:
        WrongFormatError: a file is no such file.
        EmptyRecordingError: there is no reading in any of them.
    """
    files = table.files_in(paths)
    about = [path for path in files if _is_metadata(path)]
    measured = [path for path in files if path not in about]
    found = survey(measured, COLUMNS, parse)
    segments = _segments(about or _beside(measured))
    sites = [_site(device_id, segments.get(device_id)) for device_id in found.device_ids()]
    return recording(
        found,
        devices=_devices(found, sites),
        sites=sites,
        deployments=_deployments(found),
        stream=streaming(found, COLUMNS, parse),
        notices=_notices(sites),
    )


def parse(row: Row) -> RecordedReading:
    """Return the reading of a row.

    Raises:
        BadRowError: the row is none.
    """
    fields = row.named()
    values, extra = _measurements(
        {
            column: table.number(column, fields[column])
            for column in ("vehicleCount", "avgSpeed", "avgMeasuredTime", "medianMeasuredTime")
        }
    )
    return RecordedReading(
        kind="traffic",
        device_id=_device_id(fields["REPORT_ID"]),
        part="",
        time=table.stamp(fields["TIMESTAMP"]),
        interval_s=_INTERVAL_S,
        values=table.measured(values.items()),
        extra=dict(table.measured(extra.items())),
    )


Measurements = dict[str, Decimal | None]


def _measurements(columns: Measurements) -> tuple[Measurements, Measurements]:
    """Return channels and extra fields, by the rule that the module's docstring states."""
    count, speed = columns["vehicleCount"], columns["avgSpeed"]
    if count == 0:
        return ({"vehicles": count} if speed else {}), {}
    return (
        {
            "vehicles": count,
            "speed_kmh": speed,
            "travel_time_s": columns["avgMeasuredTime"],
        },
        {"median_travel_time_s": columns["medianMeasuredTime"]},
    )


def _device_id(report: str) -> str:
    device_id = f"citypulse-{report.strip()}"
    if not report.strip() or not DEVICE_ID.fullmatch(device_id):
        raise BadRowError("bad device", f"REPORT_ID {report[:40]!r} makes no device id")
    return device_id


def _is_metadata(path: Path) -> bool:
    names = table.header(path, METADATA_COLUMNS)
    return set(METADATA_COLUMNS.required) <= set(names)


def _beside(measured: Sequence[Path]) -> list[Path]:
    candidates = {path.parent / METADATA for path in measured}
    return sorted(path for path in candidates if path.is_file())


def _segments(about: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Return the metadata by device id; a cut row is as good as none and leaves a notice."""
    return {
        f"citypulse-{fields['REPORT_ID']}": fields
        for path in about
        for row in table.rows(path, METADATA_COLUMNS)
        if len(row.fields) == len(row.header)
        for fields in (row.named(),)
    }


def _site(device_id: str, segment: dict[str, str] | None) -> Site:
    if segment is None:
        return Site(device_id, name=f"CityPulse segment {device_id.removeprefix('citypulse-')}")
    name = (
        f"{segment['POINT_1_STREET']} to {segment['POINT_2_STREET']}, "
        f"{segment['POINT_1_CITY']} ({segment['REPORT_NAME']})"
    )
    start, end = _end_point(segment, 1), _end_point(segment, 2)
    if start is None or end is None:
        return Site(device_id, name=name)
    return Site(
        device_id,
        name=name,
        latitude=round((start[0] + end[0]) / 2, _DIGITS),
        longitude=round((start[1] + end[1]) / 2, _DIGITS),
        road_segment=f"LINESTRING ({start[1]} {start[0]}, {end[1]} {end[0]})",
    )


def _end_point(segment: dict[str, str], point: int) -> tuple[float, float] | None:
    """Return latitude and longitude of one of the two readers, None where they are not given."""
    latitude = table.coordinate(segment[f"POINT_{point}_LAT"])
    longitude = table.coordinate(segment[f"POINT_{point}_LNG"])
    if latitude is None or longitude is None:
        return None
    return round(latitude, _DIGITS), round(longitude, _DIGITS)


def _devices(found: Survey, sites: Sequence[Site]) -> Iterator[Device]:
    for site in sites:
        yield Device(
            site.site_id,
            device_type="citypulse-segment",
            name=site.name,
            owner=OWNER,
            licence=LICENCE,
            origin=Origin.RECORDED,
            data_from=found.device_first_at(site.site_id),
        )


def _deployments(found: Survey) -> Iterator[Deployment]:
    for (device_id, part), at in found.first_at.items():
        yield Deployment(device_id, part, device_id, valid_from=at, expected_interval_s=_INTERVAL_S)


def _notices(sites: Sequence[Site]) -> Iterator[str]:
    bare = [site.site_id for site in sites if site.latitude is None]
    if bare:
        yield f"no coordinates for {', '.join(bare)}: {METADATA} is not there or lacks them"
