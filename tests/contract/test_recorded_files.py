"""Real recorded files: what the readers make of them equals what ``csv`` alone finds in them.

The files are no part of the project; where they are not beside it, these tests are skipped.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from services.operations.replaying.formats import FORMATS

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

Identity = tuple[str, str, datetime]
Values = dict[str, float]
Stored = dict[Identity, list[Values]]


def folder(name: str) -> Path:
    path = DATA / name
    if not path.is_dir():
        pytest.skip(f"no recorded files at {path}")
    return path


def rows(path: Path, delimiter: str = ",") -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def utc(stamp: str, hours_ahead: int = 0) -> datetime:
    return datetime.fromisoformat(stamp).replace(tzinfo=UTC) - timedelta(hours=hours_ahead)


def of_reader(format_name: str, path: Path) -> tuple[Stored, int]:
    """Return every copy of every identity, and how many rows were skipped."""
    recording = FORMATS[format_name]([path])
    stored: Stored = defaultdict(list)
    for reading in recording.stream():
        values = {name: float(value) for name, value in reading.values.items()}
        stored[reading.device_id, reading.part, reading.time].append(values)
    assert sum(map(len, stored.values())) == recording.count
    return stored, sum(recording.skipped.by_reason.values())


@cache
def aberdeen(path: Path) -> Stored:
    names = {
        "P1": "pm10_ugm3",
        "P2": "pm2_5_ugm3",
        "temperature": "temperature_c",
        "humidity": "relative_humidity_pct",
    }
    stored: Stored = defaultdict(list)
    for file in path.glob("*.csv"):
        for row in rows(file, ";"):
            key = f"sc-{row['location']}", row["sensor_type"].lower(), utc(row["timestamp"])
            values = {name: float(row[column]) for column, name in names.items() if row.get(column)}
            if row.get("pressure"):
                values["pressure_hpa"] = float(Decimal(row["pressure"]) / 100)
            stored[key].append(values)
    return stored


@cache
def aarhus(path: Path) -> Stored:
    stored: Stored = defaultdict(list)
    for file in path.glob("Aarhus*.csv"):
        for row in rows(file):
            values = {"vehicles": float(row["vehicleCount"])}
            if values["vehicles"]:
                values["speed_kmh"] = float(row["avgSpeed"])
                values["travel_time_s"] = float(row["avgMeasuredTime"])
            elif row["avgSpeed"] == "0":
                values = {}
            stored[f"citypulse-{row['REPORT_ID']}", "", utc(row["TIMESTAMP"])].append(values)
    return stored


@cache
def brisbane(path: Path) -> Stored:
    stored: Stored = defaultdict(list)
    for file in path.glob("*.csv"):
        for row in rows(file):
            start, stop = utc(row["datetimestart"], 10), utc(row["datetimestop"], 10)
            values = {
                "latency_ms": float(row["ping"]),
                "download_mbps": float(row["download"]),
                "upload_mbps": float(row["upload"]),
                "duration_s": (stop - start).total_seconds(),
            }
            stored["telstra-brisbane", "", start].append(values)
    return stored


FOLDERS = {
    "sensor-community": ("air_aberdeen_sensor_community", aberdeen),
    "citypulse": ("traffic_citypulse_aarhus", aarhus),
    "telstra": ("broadband_telstra_brisbane", brisbane),
}


@pytest.mark.parametrize("format_name", FOLDERS)
def test_every_row_comes_out_with_its_identity_and_its_values(format_name: str) -> None:
    name, independently = FOLDERS[format_name]
    path = folder(name)
    stored, skipped = of_reader(format_name, path)
    assert skipped == 0
    assert stored == independently(path)


# Rows, distinct identities, and identities whose copies differ (the pipeline's conflicts).
FACTS = {
    "sensor-community": (79_875, 79_875, 0),
    "citypulse": (99_287, 99_250, 0),
    "telstra": (13_385, 13_385, 0),
}


@pytest.mark.parametrize("format_name", FACTS)
def test_how_many_rows_are_duplicates_and_how_many_contradict(format_name: str) -> None:
    name, independently = FOLDERS[format_name]
    copies = independently(folder(name)).values()
    conflicts = sum(any(copy != first for copy in rest) for first, *rest in copies)
    assert (sum(map(len, copies)), len(copies), conflicts) == FACTS[format_name]


def test_every_segment_finds_its_end_points() -> None:
    recording = FORMATS["citypulse"]([folder("traffic_citypulse_aarhus")])
    assert len(recording.devices) == 12
    assert all(site.road_segment for site in recording.sites)
    assert recording.notices == ()


def test_data_begins_at_each_device_s_first_stamp() -> None:
    path = folder("air_aberdeen_sensor_community")
    first: dict[str, datetime] = {}
    for device_id, _part, time in aberdeen(path):
        first[device_id] = min(time, first.get(device_id, time))
    recording = FORMATS["sensor-community"]([path])
    assert {device.device_id: device.data_from for device in recording.devices} == first
