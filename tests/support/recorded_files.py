"""What recorded files say, worked out from the files alone: no reader of ours takes part in it."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
AEST = timezone(timedelta(hours=10))
SENSOR_COMMUNITY = {
    "P1": "pm10_ugm3",
    "P2": "pm2_5_ugm3",
    "temperature": "temperature_c",
    "humidity": "relative_humidity_pct",
}

Values = dict[str, float | str]
Identity = tuple[str, str, datetime]
"""device_id, part, time."""
Said = Iterator[tuple[Identity, Values]]


def shared(folder: str) -> Path:
    """A folder of recorded data; skips the test where it is absent."""
    if not (SHARED / folder).is_dir():
        pytest.skip(f"no recorded data: {SHARED / folder} is absent")
    return SHARED / folder


@dataclass
class Expected:
    """What must be stored and counted after files went in, one row after the other.

    The first row of an identity is written; another that says the same is a duplicate, one that
    says more is merged, one that says otherwise is refused as a conflict.
    """

    rows: dict[Identity, Values] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, said: Iterable[tuple[Identity, Values]]) -> None:
        for identity, values in said:
            self.outcomes["decoded"] += 1
            self.outcomes[self._outcome(identity, values)] += 1

    def _outcome(self, identity: Identity, values: Values) -> str:
        known = self.rows.get(identity)
        if known is None:
            self.rows[identity] = dict(values)
            return "written"
        if any(known.get(name, value) != value for name, value in values.items()):
            return "quarantined"
        if values.keys() <= known.keys():
            return "duplicate"
        known.update(values)
        return "merged"


def sensor_community(paths: Sequence[Path]) -> Said:
    for row in _rows(paths, ";"):
        at = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
        values = _numbers(row, SENSOR_COMMUNITY)
        if row.get("pressure"):
            values["pressure_hpa"] = float(Decimal(row["pressure"]) / 100)
        yield (f"sc-{row['location']}", row["sensor_type"].lower(), at), values


def citypulse(paths: Sequence[Path]) -> Said:
    for row in _rows(paths, ","):
        at = datetime.fromisoformat(row["TIMESTAMP"]).replace(tzinfo=UTC)
        count, speed = int(row["vehicleCount"]), int(row["avgSpeed"])
        values: Values = {}
        if count or speed:
            values["vehicles"] = float(count)
        if count:
            values |= {"speed_kmh": float(speed), "travel_time_s": float(row["avgMeasuredTime"])}
        yield (f"citypulse-{row['REPORT_ID']}", "", at), values


def telstra(paths: Sequence[Path]) -> Said:
    columns = {"ping": "latency_ms", "download": "download_mbps", "upload": "upload_mbps"}
    for row in _rows(paths, ","):
        start, end = (
            datetime.fromisoformat(row[name]).replace(tzinfo=AEST)
            for name in ("datetimestart", "datetimestop")
        )
        values: Values = {
            **_numbers(row, columns),
            "duration_s": (end - start).total_seconds(),
            "server": row["server"],
            "isp": row["provider"],
        }
        yield ("telstra-brisbane", "", start.astimezone(UTC)), values


def _rows(paths: Sequence[Path], delimiter: str) -> Iterator[dict[str, str]]:
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file, delimiter=delimiter)


def _numbers(row: Mapping[str, str], columns: Mapping[str, str]) -> Values:
    """Every field that holds a number; what is empty or no number was not measured."""
    values: Values = {}
    for column, channel in columns.items():
        try:
            values[channel] = float(row.get(column) or "")
        except ValueError:
            continue
    return values


@dataclass(frozen=True)
class Format:
    """A format of recorded files: how its rows read, and which files are enough to be quick."""

    name: str
    kind: str
    folder: str
    read: Callable[[Sequence[Path]], Said]
    all_files: str
    some_files: str
    is_long: bool = False

    def paths(self, pattern: str) -> list[Path]:
        found = sorted(shared(self.folder).glob(pattern))
        assert found, f"no {pattern} in {self.folder}"
        return found

    def some(self, folder: Path) -> list[Path]:
        """The files for a quick test; of long ones a copy of their beginning, in a folder."""
        found = self.paths(self.some_files)
        return [_beginning(path, folder) for path in found] if self.is_long else found


def _beginning(path: Path, folder: Path) -> Path:
    copy = folder / path.name
    with path.open(encoding="utf-8") as file:
        copy.write_text("".join(islice(file, 3_001)), encoding="utf-8")
    return copy


FORMATS = (
    Format(
        "sensor-community", "environmental", "air_aberdeen_sensor_community", sensor_community,
        "*_sensor_*.csv", "2018-10-28_*.csv",
    ),
    Format(
        "citypulse", "traffic", "traffic_citypulse_aarhus", citypulse, "AarhusTrafficData*.csv",
        "AarhusTrafficData158446.stream.csv",
    ),
    Format(
        "telstra", "broadband", "broadband_telstra_brisbane", telstra, "speedtests_*.csv",
        "speedtests_*.csv", is_long=True,
    ),
)  # fmt: skip
