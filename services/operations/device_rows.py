"""A device as a person writes it: one flat row that names device, site and deployment.

Columns of a CSV file, a JSON line, or options on the command line; what is empty is not said.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

from schemas.device_types import DEVICE_TYPES
from schemas.registry import Deployment, Device, Origin, Site, StationClass
from services.decoding.times import TimeError, parse_rfc3339
from services.storage.known import Known

Row = Mapping[str, Any]
Word = TypeVar("Word", bound=StrEnum)

SHORT = {"type": "device_type", "site": "site_id"}
"""Other names that a column may have."""
_SITE = ("site_name", "latitude", "longitude", "altitude_m", "area", "road_segment")
_DEPLOYED = ("height_m", "exposure", "expected_interval_s", "schedule", "firmware")
FIELDS = (*(field.name for field in fields(Device)), "site_id", *_SITE, "part", "deployed_from",
          *_DEPLOYED)  # fmt: skip
_NUMBERS = frozenset({"latitude", "longitude", "altitude_m", "height_m", "expected_interval_s"})
_TIMES = frozenset({"data_from", "expected_from", "deployed_from"})


class RowError(Exception):
    """A row that can't be understood; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Items:
    """What one row adds to the registry."""

    device: Device
    site: Site | None
    deployment: Deployment | None


def read_rows(text: str) -> list[Row]:
    """Read JSON lines, a JSON array or CSV with a head line, whichever the text is.

    Raises:
        RowError: neither of these; names the line.
    """
    begin = text.lstrip("\ufeff \t\r\n")
    if begin.startswith("["):
        return [_object(row, f"entry {n}") for n, row in enumerate(_json(begin, "the file"), 1)]
    if begin.startswith("{"):
        lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
        return [_object(_json(line, f"line {n}"), f"line {n}") for n, line in lines]
    return list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))


def _json(text: str, where: str) -> Any:  # noqa: ANN401 # whatever JSON holds
    try:
        return json.loads(text)
    except ValueError as error:
        raise RowError(f"{where} is no JSON: {error}") from error


def _object(row: object, where: str) -> Row:
    if not isinstance(row, dict):
        raise RowError(f"{where} must be an object, one device each")
    return row


def cleaned(row: Row) -> dict[str, Any]:
    """Return what a row says, by the fields' own names, with numbers and times read.

    Raises:
        RowError: an unknown field, or a value that is none for its field.
    """
    said: dict[str, Any] = {}
    for name, value in row.items():
        field = SHORT.get(name, name)
        if field not in FIELDS:
            raise RowError(f"unknown field {name!r}{_like(str(name), FIELDS)}")
        if value is not None and str(value).strip() != "":
            said[field] = _value(field, value)
    if "device_id" not in said:
        raise RowError("device_id is missing")
    return said


def _value(field: str, value: object) -> object:
    if field in _NUMBERS:
        return _number(field, value)
    text = str(value).strip()
    if field not in _TIMES:
        return text
    try:
        return parse_rfc3339(text)
    except TimeError as error:
        raise RowError(f"{field}: {error}") from error


def _number(field: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError as error:
        raise RowError(f"{field} must be a number, not {value!r}") from error


def items(said: Mapping[str, Any], known: Known, far_back: datetime) -> Items:
    """Return what a row adds, given what the registry knows already.

    A field that the row does not name keeps what is known. The first deployment of a device holds
    as far back as its data is taken, so that what it had sent before has a place; a later one
    holds from now, or ``deployed_from``.
    """
    device = _device(said, known.devices.get(said["device_id"]))
    if "site_id" not in said:
        return Items(device, None, None)
    return Items(device, _site(said, known), _deployment(said, device, known, far_back))


def _device(said: Mapping[str, Any], current: Any) -> Device:  # noqa: ANN401 # a row of asyncpg's
    merged = {**_known(current, ("device_type", "name", "owner", "licence", "station_class",
                                 "origin")), **said}  # fmt: skip
    device_type = merged.get("device_type", "generic")
    if device_type not in DEVICE_TYPES:
        raise RowError(
            f"unknown device type {device_type!r}{_like(device_type, tuple(DEVICE_TYPES))}"
        )
    return Device(
        device_id=said["device_id"],
        device_type=device_type,
        name=merged.get("name"),
        owner=merged.get("owner"),
        licence=merged.get("licence"),
        station_class=_word("station_class", merged, StationClass.INDICATIVE),
        origin=_word("origin", merged, Origin.REAL),
        data_from=said.get("data_from"),
        expected_from=said.get("expected_from"),
    )


def _site(said: Mapping[str, Any], known: Known) -> Site | None:
    current = known.sites.get(said["site_id"])
    own = {name.removeprefix("site_"): said[name] for name in _SITE if name in said}
    if current is not None and not own:
        return None
    merged = {"name": said["site_id"], **(dict(current) if current else {}), **own}
    return Site(**{**merged, "site_id": said["site_id"]})


def _deployment(
    said: Mapping[str, Any], device: Device, known: Known, far_back: datetime
) -> Deployment | None:
    part = said.get("part", "")
    current = known.deployments.get((device.device_id, part))
    own = {name: said[name] for name in _DEPLOYED if name in said}
    stands = {**_known(current, _DEPLOYED), **own}
    start = said.get("deployed_from")
    if current is not None and start is None:
        if current["site_id"] == said["site_id"] and all(current[n] == own[n] for n in own):
            return None
        start = datetime.now(UTC)
    start = start or device.data_from or far_back
    return Deployment(device.device_id, part, said["site_id"], start, **stands)


def _known(current: Any, names: Sequence[str]) -> dict[str, Any]:  # noqa: ANN401 # see above
    if current is None:
        return {}
    return {name: current[name] for name in names if current[name] is not None}


def _word(field: str, merged: Mapping[str, Any], default: Word) -> Word:
    words = type(default)
    try:
        return words(merged.get(field, default))
    except ValueError as error:
        allowed = " or ".join(word.value for word in words)
        raise RowError(f"{field} must be {allowed}, not {merged[field]!r}") from error


def _like(word: str, choices: Sequence[str]) -> str:
    near = get_close_matches(word, choices, 1)
    return f": did you mean {near[0]}?" if near else f": choose {', '.join(choices)}"
