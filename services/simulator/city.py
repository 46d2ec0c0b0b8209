"""The devices of a simulated city: what they are, where they stand, how often they report.

A device is a pure function of (seed, index): a larger city contains the smaller one. Its id names
the seed, since two cities measure different values.
"""

import csv
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import accumulate
from pathlib import Path

from schemas.registry import Deployment, Device, Origin, Site
from services.simulator.noise import scramble, unit

WARDS_FILE = Path(__file__).resolve().parents[2] / "deploy/city/binh-duong/wards.csv"

_SPREAD_DEGREES = 0.012
"""How far from its ward's centre a device may stand: somewhat over a kilometre."""
_PLACE, _PHASE, _LAG, _WARD = range(1, 5)


@dataclass(frozen=True, slots=True)
class Model:
    """What devices of one model do.

    One comes every ``period_s`` and covers ``interval_s`` from its time on (None: an instant).
    """

    name: str
    kind: str
    device_type: str
    title: str
    period_s: int
    interval_s: int | None = None


class Models(Enum):
    """The models of the city."""

    AIR = Model("air", "environmental", "environmental-station", "Air station", 60)
    WEATHER = Model(
        "weather", "environmental", "environmental-station", "Weather station", 300, 300
    )
    SOUND = Model("sound", "environmental", "sound-meter", "Sound meter", 60, 60)
    ARTERIAL = Model("arterial", "traffic", "traffic-counter", "Counter on an arterial", 60, 60)
    STREET = Model("street", "traffic", "traffic-counter", "Counter on a street", 300, 300)
    LINE = Model("line", "broadband", "broadband-probe", "Probe on an internet line", 1800)


# Of 20 devices, so that any three have all three kinds; 300 of them send three to four a second.
_MIX = tuple(
    Models[name].value
    for name in (
        *("AIR", "STREET", "LINE", "AIR", "SOUND", "ARTERIAL", "AIR", "STREET", "AIR", "LINE"),
        *("AIR", "WEATHER", "STREET", "AIR", "ARTERIAL", "AIR", "SOUND", "STREET", "LINE", "AIR"),
    )
)


@dataclass(frozen=True, slots=True)
class Ward:
    """A ward, its approximate centre in degrees, and its share of the devices."""

    area: str
    name: str
    latitude: float
    longitude: float
    weight: int


@dataclass(frozen=True, slots=True)
class SimulatedDevice:
    """One device: ``key`` seeds all that it measures, ``level`` in [0, 1) is its place's busyness.

    Its readings are of ``phase_ms`` + n * ``period_ms`` (epoch), each sent
    ``lag_ms`` after the end of what it covers.
    """

    key: int
    device_id: str
    model: Model
    ward: Ward
    latitude: float
    longitude: float
    level: float
    period_ms: int
    phase_ms: int
    lag_ms: int

    @property
    def topic(self) -> str:
        """The MQTT topic of the native convention."""
        return f"citytally/v1/{self.model.kind}/{self.device_id}"

    def due_ms(self, time_ms: int) -> int:
        """Return when the reading of ``time_ms`` is sent."""
        return time_ms + (self.model.interval_s or 0) * 1000 + self.lag_ms

    def times_ms(self, from_ms: int, to_ms: int) -> range:
        """Return the times of the readings that are due from ``from_ms`` until before ``to_ms``."""
        after = self.due_ms(self.phase_ms)
        first, end = (-((after - bound) // self.period_ms) for bound in (from_ms, to_ms))
        return range(
            self.phase_ms + first * self.period_ms,
            self.phase_ms + end * self.period_ms,
            self.period_ms,
        )


def wards(path: Path = WARDS_FILE) -> tuple[Ward, ...]:
    """Return the wards of the city, in the order of their file."""
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            Ward(
                row["area"],
                row["name"],
                float(row["latitude"]),
                float(row["longitude"]),
                int(row["weight"]),
            )
            for row in csv.DictReader(file)
        )


def city(
    seed: int, devices: int, *, rate_factor: float = 1.0, over: Sequence[Ward] | None = None
) -> list[SimulatedDevice]:
    """Return the first ``devices`` devices of a seed's city.

    ``rate_factor`` makes those that report instants report more often. What covers an interval
    keeps its own: the same start with another length would be another value for one identity.
    """
    places = tuple(over or wards())
    shares = list(accumulate(ward.weight for ward in places))
    return [_device(seed, index, rate_factor, places, shares) for index in range(devices)]


def _device(
    seed: int, index: int, rate_factor: float, places: Sequence[Ward], shares: Sequence[int]
) -> SimulatedDevice:
    key = scramble(seed, index)
    model = _MIX[index % len(_MIX)]
    ward = places[bisect(shares, int(unit(key, _WARD) * shares[-1]))]
    instant = model.interval_s is None
    period_ms = max(100, round(model.period_s * 1000 / (rate_factor if instant else 1.0)))
    return SimulatedDevice(
        key=key,
        device_id=f"sim-{seed}-{model.name}-{index:05d}",
        model=model,
        ward=ward,
        latitude=round(ward.latitude + _SPREAD_DEGREES * (2 * unit(key, _PLACE, 0) - 1), 5),
        longitude=round(ward.longitude + _SPREAD_DEGREES * (2 * unit(key, _PLACE, 1) - 1), 5),
        level=unit(key, _PLACE, 2),
        period_ms=period_ms,
        phase_ms=int(unit(key, _PHASE) * model.period_s) * 1000 % period_ms if instant else 0,
        # Intervals end together; their devices do not send together.
        lag_ms=500 + int(unit(key, _LAG) * (2_000 if instant else 45_000)),
    )


def registry_devices(city: Sequence[SimulatedDevice], data_from: datetime) -> Iterator[Device]:
    """Return the devices as the registry knows them, origin simulated."""
    for device in city:
        yield Device(
            device.device_id,
            device_type=device.model.device_type,
            name=f"{device.model.title}, {device.ward.name} (simulated)",
            owner="citytally simulator",
            origin=Origin.SIMULATED,
            data_from=data_from,
        )


def registry_sites(city: Sequence[SimulatedDevice]) -> Iterator[Site]:
    """Return a site for each device."""
    for device in city:
        yield Site(
            device.device_id,
            name=f"{device.ward.name}, {device.device_id}",
            latitude=device.latitude,
            longitude=device.longitude,
            area=device.ward.area,
        )


def registry_deployments(
    city: Sequence[SimulatedDevice], valid_from: datetime
) -> Iterator[Deployment]:
    """Return each device at its site since ``valid_from``."""
    for device in city:
        yield Deployment(
            device.device_id,
            "",
            device.device_id,
            valid_from=valid_from,
            height_m=3.0,
            exposure="indoor" if device.model.kind == "broadband" else "outdoor",
            expected_interval_s=device.period_ms / 1000,
        )
