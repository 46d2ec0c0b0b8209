"""Sensor.Community's daily archive: one file a sensor and day, `;` between fields.

Stamps are UTC although nothing says so. Sensors of one box share ``location`` only, so a location
is a device and a sensor type its part. P0, P1, P2 are PM1, PM10, PM2.5; pressure is in Pa.
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
    "sensor-community",
    ("sensor_id", "sensor_type", "location", "lat", "lon", "timestamp"),
    delimiter=";",
)
LICENCE = "ODbL 1.0, contents DbCL 1.0"
OWNER = "Sensor.Community"

# What airRohr's firmware is shipped with; sending makes it a few seconds more.
_INTERVAL_S = 145
_CHANNELS = {
    "P0": "pm1_ugm3",
    "P1": "pm10_ugm3",
    "P2": "pm2_5_ugm3",
    "temperature": "temperature_c",
    "humidity": "relative_humidity_pct",
    "co2_ppm": "co2_ppm",
    "noise_LAeq": "laeq_dba",
    "noise_LA_max": "lamax_dba",
}
# Kept as they are: low-pulse occupancy of counting sensors, and what firmware computes itself.
_EXTRAS = {
    "durP1": "dur_p1_us",
    "ratioP1": "ratio_p1_pct",
    "durP2": "dur_p2_us",
    "ratioP2": "ratio_p2_pct",
    "altitude": "altitude_m",
    "pressure_sealevel": "pressure_sealevel_pa",
}


def read(paths: Sequence[Path]) -> Recording:
    """Read daily files (or folders of them).

    Raises:
        WrongFormatError: a file is no such file.
        EmptyRecordingError: there is no reading in any of them.
    """
    found = survey(table.files_in(paths), COLUMNS, parse)
    return recording(
        found,
        devices=_devices(found),
        sites=_sites(found),
        deployments=_deployments(found),
        stream=streaming(found, COLUMNS, parse),
    )


def parse(row: Row) -> RecordedReading:
    """Return the reading of a row.

    Raises:
        BadRowError: the row is none.
    """
    fields = row.named()
    return RecordedReading(
        kind="environmental",
        device_id=_device_id(fields["location"]),
        part=fields["sensor_type"].strip().lower(),
        time=table.stamp(fields["timestamp"]),
        interval_s=None,
        values=table.measured(_values(fields)),
        extra=_extra(fields),
    )


def _values(fields: dict[str, str]) -> Iterator[tuple[str, Decimal | None]]:
    for column, channel in _CHANNELS.items():
        yield channel, table.number(column, fields.get(column, ""))
    pascal = table.number("pressure", fields.get("pressure", ""))
    # A shift of the decimal point, not a division: 103031.84 Pa is 1030.3184 hPa to the last digit.
    yield "pressure_hpa", None if pascal is None else pascal.scaleb(-2)


def _extra(fields: dict[str, str]) -> dict[str, Decimal | str]:
    kept: dict[str, Decimal | str] = {"sensor_id": fields["sensor_id"]}
    kept |= table.measured(
        (name, table.number(column, fields.get(column, ""))) for column, name in _EXTRAS.items()
    )
    return kept


def _device_id(location: str) -> str:
    device_id = f"sc-{location.strip()}"
    if not location.strip() or not DEVICE_ID.fullmatch(device_id):
        raise BadRowError("bad device", f"location {location[:40]!r} makes no device id")
    return device_id


def _devices(found: Survey) -> Iterator[Device]:
    for device_id in found.device_ids():
        yield Device(
            device_id,
            device_type="sensor-community-station",
            name=f"Sensor.Community location {device_id.removeprefix('sc-')}",
            owner=OWNER,
            licence=LICENCE,
            origin=Origin.RECORDED,
            data_from=found.device_first_at(device_id),
        )


def _sites(found: Survey) -> Iterator[Site]:
    for device_id in found.device_ids():
        fields = found.device_first_row(device_id).named()
        latitude, longitude = (table.coordinate(fields[column]) for column in ("lat", "lon"))
        placed = latitude is not None and longitude is not None
        yield Site(
            device_id,
            name=f"Sensor.Community location {device_id.removeprefix('sc-')}",
            latitude=latitude if placed else None,
            longitude=longitude if placed else None,
        )


def _deployments(found: Survey) -> Iterator[Deployment]:
    for (device_id, part), at in found.first_at.items():
        yield Deployment(device_id, part, device_id, valid_from=at, expected_interval_s=_INTERVAL_S)
