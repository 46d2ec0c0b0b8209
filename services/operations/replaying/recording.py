"""What a reader of recorded files yields: registry items, and readings in the order of time."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from schemas.registry import Deployment, Device, Site
from services.operations.replaying import table
from services.operations.replaying.table import BadRowError, Columns, Row

_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class RecordedReading:
    """One row of a file: channels in canonical units, exact as the file wrote them.

    ``time`` is aware and the start of what the values cover. Without ``values`` and ``texts`` it is
    a measured "no data". ``extra`` holds columns worth keeping that are no channels.
    """

    kind: str
    device_id: str
    part: str
    time: datetime
    interval_s: int | None
    values: dict[str, Decimal]
    texts: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Decimal | str] = field(default_factory=dict)

    def topic(self) -> str:
        """Return the MQTT topic of the native convention."""
        return f"citytally/v1/{self.kind}/{self.device_id}"

    def payload(self, shift: timedelta = timedelta()) -> bytes:
        """Return the native JSON object, its time moved by ``shift``."""
        fields: dict[str, object] = {"time": rfc3339(self.time + shift)}
        if self.part:
            fields["part"] = self.part
        if self.interval_s is not None:
            fields["interval_s"] = self.interval_s
        fields |= {name: _number(value) for name, value in self.values.items()}
        fields |= self.texts
        fields |= {
            name: value if isinstance(value, str) else _number(value)
            for name, value in self.extra.items()
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Skipped:
    """Rows that were no readings: counted by reason, the first ones with file and line."""

    by_reason: dict[str, int]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """Files, read: what to register, and the readings, streamed anew at each call of ``stream``.

    Readings come in the order of each file, files merged by time; a file that steps back in time
    does so here. Duplicate stamps stay: the pipeline decides between duplicate and conflict.
    ``notices`` are sentences about what a person should know, such as a file not found.
    """

    devices: tuple[Device, ...]
    sites: tuple[Site, ...]
    deployments: tuple[Deployment, ...]
    stream: Callable[[], Iterator[RecordedReading]]
    count: int
    first_at: datetime
    last_at: datetime
    skipped: Skipped
    notices: tuple[str, ...] = ()

    def registered_at(self, shift: timedelta) -> "Recording":
        """Return the same with its registry items moved by ``shift``; readings stay."""
        return replace(
            self,
            devices=tuple(
                replace(device, data_from=_moved(device.data_from, shift))
                for device in self.devices
            ),
            deployments=tuple(
                replace(
                    deployment,
                    valid_from=deployment.valid_from + shift,
                    valid_to=_moved(deployment.valid_to, shift),
                )
                for deployment in self.deployments
            ),
        )


class EmptyRecordingError(ValueError):
    """No file holds a single reading; says which files and what was skipped."""


@dataclass(slots=True)
class Survey:
    """What one pass over the files found out, before the first reading is published."""

    count: int = 0
    first_row: dict[tuple[str, str], Row] = field(default_factory=dict)
    first_at: dict[tuple[str, str], datetime] = field(default_factory=dict)
    last_at: datetime | None = None
    file_starts: list[tuple[datetime, Path]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def device_first_at(self, device_id: str) -> datetime:
        """Return the earliest stamp of a device over all its parts."""
        return min(at for (device, _part), at in self.first_at.items() if device == device_id)

    def device_ids(self) -> list[str]:
        """Return the devices in the order in which the files name them."""
        return list(dict.fromkeys(device for device, _part in self.first_at))

    def device_first_row(self, device_id: str) -> Row:
        """Return the row of a device's earliest stamp: where it stood then, for instance."""
        _at, part = min(
            (at, part) for (device, part), at in self.first_at.items() if device == device_id
        )
        return self.first_row[device_id, part]

    def skipped(self) -> Skipped:
        """Return what was skipped, as a reader reports it."""
        return Skipped(dict(self.reasons), tuple(self.examples))


Parse = Callable[[Row], RecordedReading]


def survey(paths: Iterable[Path], columns: Columns, parse: Parse) -> Survey:
    """Pass over the files once: what they hold, from when, and which rows are no readings.

    Raises:
        WrongFormatError: a file has not the columns of the format.
        EmptyRecordingError: there is no reading in any of them.
    """
    found = Survey()
    files = list(paths)
    for path in files:
        _survey_file(found, path, columns, parse)
    if not found.count:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in found.reasons.items())
        names = ", ".join(str(path) for path in files) or "no file given"
        raise EmptyRecordingError(f"no reading in {names} ({reasons or 'no rows'})")
    return found


def _survey_file(found: Survey, path: Path, columns: Columns, parse: Parse) -> None:
    start: datetime | None = None
    for row in table.rows(path, columns):
        try:
            reading = parse(row)
        except BadRowError as error:
            found.reasons[error.reason] += 1
            if len(found.examples) < _EXAMPLES:
                found.examples.append(f"{row.path.name}:{row.line}: {error}")
            continue
        _note(found, row, reading)
        start = reading.time if start is None else min(start, reading.time)
    if start is not None:
        found.file_starts.append((start, path))


def _note(found: Survey, row: Row, reading: RecordedReading) -> None:
    found.count += 1
    key = reading.device_id, reading.part
    if key not in found.first_at or reading.time < found.first_at[key]:
        found.first_at[key] = reading.time
        found.first_row[key] = row
    if found.last_at is None or reading.time > found.last_at:
        found.last_at = reading.time


def recording(
    found: Survey,
    *,
    devices: Iterable[Device],
    sites: Iterable[Site],
    deployments: Iterable[Deployment],
    stream: Callable[[], Iterator[RecordedReading]],
    notices: Iterable[str] = (),
) -> Recording:
    """Put a survey, its registry items and its readings together."""
    first_at = min(found.first_at.values())
    return Recording(
        devices=tuple(devices),
        sites=tuple(sites),
        deployments=tuple(deployments),
        stream=stream,
        count=found.count,
        first_at=first_at,
        last_at=found.last_at or first_at,
        skipped=found.skipped(),
        notices=tuple(notices),
    )


def streaming(
    found: Survey, columns: Columns, parse: Parse
) -> Callable[[], Iterator[RecordedReading]]:
    """Return a function that reads the surveyed files anew, merged by time."""
    starts = sorted(found.file_starts)

    def of_file(path: Path) -> Iterator[RecordedReading]:
        for row in table.rows(path, columns):
            try:
                yield parse(row)
            except BadRowError:  # the survey has counted it
                continue

    return lambda: table.merged_by_time(starts, of_file)


def rfc3339(time: datetime) -> str:
    """Return a time in UTC with ``Z``, with a fraction only where there is one."""
    return time.isoformat().replace("+00:00", "Z")


def _moved(time: datetime | None, shift: timedelta) -> datetime | None:
    return None if time is None else time + shift


def _number(value: Decimal) -> int | float:
    """Return what JSON writes: a whole number as it is, else the double nearest to the decimal."""
    return int(value) if value == value.to_integral_value() else float(value)
