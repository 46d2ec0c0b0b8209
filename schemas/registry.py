"""What the registry knows: devices, sites, and which device stood where, and when.

Times are aware datetimes in UTC; an open end is ``None``. Construction never judges; ``check``
does, so that a caller may collect every problem of a file before it refuses it.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""What a device may be called, in topics and in the registry (match it whole)."""


class Origin(StrEnum):
    """Where a device's readings come from; figures and reports take real ones only."""

    REAL = "real"
    SIMULATED = "simulated"
    RECORDED = "recorded"


class StationClass(StrEnum):
    """How far a device's values may be relied upon."""

    REGULATORY = "regulatory"
    INDICATIVE = "indicative"


@dataclass(frozen=True, slots=True)
class Device:
    """One device. Readings before ``data_from`` are too old; silence counts from ``expected_from``.

    Null ``data_from`` means registration less 400 days, null ``expected_from`` registration.
    """

    device_id: str
    device_type: str = "generic"
    name: str | None = None
    owner: str | None = None
    licence: str | None = None
    station_class: StationClass = StationClass.INDICATIVE
    origin: Origin = Origin.REAL
    data_from: datetime | None = None
    expected_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """A place where devices stand: degrees of WGS 84, metres above sea level."""

    site_id: str
    name: str
    latitude: float | None = None
    longitude: float | None = None
    altitude_m: float | None = None
    area: str | None = None
    road_segment: str | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A device's part at a site from ``valid_from`` until before ``valid_to``.

    ``height_m`` is above ground; ``expected_interval_s`` is what coverage and silence count by.
    """

    device_id: str
    part: str
    site_id: str
    valid_from: datetime
    valid_to: datetime | None = None
    height_m: float | None = None
    exposure: str | None = None
    expected_interval_s: float | None = None
    schedule: str | None = None
    firmware: str | None = None


class InvalidRegistryError(ValueError):
    """A device, site or deployment that the registry does not take; says which and why."""


def check(item: Device | Site | Deployment) -> None:
    """Refuse what the registry does not take.

    Raises:
        InvalidRegistryError: naming the item and every problem found.
    """
    found = list(problems(item))
    if found:
        raise InvalidRegistryError(f"{_named(item)}: {'; '.join(found)}")


def problems(item: Device | Site | Deployment) -> Iterator[str]:
    """Say what is wrong with an item, one sentence each; nothing where all is well."""
    match item:
        case Device():
            yield from _of_device(item)
        case Site():
            yield from _of_site(item)
        case Deployment():
            yield from _of_deployment(item)


def _of_device(device: Device) -> Iterator[str]:
    yield from _device_id(device.device_id)
    yield from _filled("device_type", device.device_type)
    yield from _one_of("origin", device.origin, Origin)
    yield from _one_of("station_class", device.station_class, StationClass)
    yield from _aware("data_from", device.data_from)
    yield from _aware("expected_from", device.expected_from)
    for field in ("device_type", "name", "owner", "licence"):
        yield from _storable(field, getattr(device, field))


def _of_site(site: Site) -> Iterator[str]:
    yield from _filled("site_id", site.site_id)
    yield from _filled("name", site.name)
    yield from _within("latitude", site.latitude, -90, 90)
    yield from _within("longitude", site.longitude, -180, 180)
    yield from _within("altitude_m", site.altitude_m, -500, 9000)
    if (site.latitude is None) != (site.longitude is None):
        yield "latitude and longitude come together or not at all"
    for field in ("site_id", "name", "area", "road_segment"):
        yield from _storable(field, getattr(site, field))


def _of_deployment(deployment: Deployment) -> Iterator[str]:
    yield from _device_id(deployment.device_id)
    yield from _filled("site_id", deployment.site_id)
    yield from _aware("valid_from", deployment.valid_from)
    yield from _aware("valid_to", deployment.valid_to)
    yield from _within("height_m", deployment.height_m, -100, 1000)
    interval = deployment.expected_interval_s
    if interval is not None and not (math.isfinite(interval) and interval > 0):
        yield f"expected_interval_s must be over 0, not {interval}"
    if _ends_early(deployment):
        yield f"valid_to {deployment.valid_to} is not after valid_from {deployment.valid_from}"
    for field in ("part", "exposure", "schedule", "firmware"):
        yield from _storable(field, getattr(deployment, field))


def _ends_early(deployment: Deployment) -> bool:
    """Compare only what can be compared: a naive time is a problem of its own."""
    start, end = deployment.valid_from, deployment.valid_to
    return bool(end and start.tzinfo and end.tzinfo and end <= start)


def _device_id(value: str) -> Iterator[str]:
    if not DEVICE_ID.fullmatch(value):
        yield (
            f"device_id {value!r} must begin with a letter or digit and go on with up to 127 "
            "letters, digits or . _ : -"
        )


def _filled(field: str, value: str) -> Iterator[str]:
    if not value.strip():
        yield f"{field} must not be empty"


def _storable(field: str, value: str | None) -> Iterator[str]:
    if value is not None and "\0" in value:
        yield f"{field} must not contain a NUL character"


def _one_of(field: str, value: str, allowed: type[StrEnum]) -> Iterator[str]:
    names = [member.value for member in allowed]
    if value not in names:
        yield f"{field} must be {' or '.join(names)}, not {value!r}"


def _aware(field: str, value: datetime | None) -> Iterator[str]:
    if value is not None and value.tzinfo is None:
        yield f"{field} {value.isoformat()} must say its zone"


def _within(field: str, value: float | None, low: float, high: float) -> Iterator[str]:
    if value is not None and not low <= value <= high:
        yield f"{field} must be between {low:g} and {high:g}, not {value:g}"


def _named(item: Device | Site | Deployment) -> str:
    match item:
        case Device():
            return f"device {item.device_id!r}"
        case Site():
            return f"site {item.site_id!r}"
        case Deployment():
            return f"deployment of {item.device_id!r} part {item.part!r}"
