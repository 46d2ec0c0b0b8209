"""What goes wrong on the way: pure functions of (device, time) too, and the counts of it.

Faults of the sensor (stuck, sentinel, silent) hold in history as well; those of the transmission
(late, duplicate, out of order, malformed, future) only live, and never two for one reading.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from services.simulator.city import SimulatedDevice
from services.simulator.noise import unit

_WINDOW_MS = 3_600_000
_TRANSMISSION, _SENTINEL, _STUCK, _SILENT, _DELAY = range(31, 36)
_LATE_MS = 2 * 60_000, 20 * 60_000
_OVERTAKEN_MS = 1_500


class Fault(StrEnum):
    """A closed set; each is a rate to set and a number that is printed."""

    LATE = "late"
    """Sent two to twenty minutes after it was due, with its own time: written."""
    DUPLICATE = "duplicate"
    """Sent twice: the second one counts as duplicate."""
    OUT_OF_ORDER = "out_of_order"
    """Sent after the device's next reading: written."""
    MALFORMED = "malformed"
    """Cut off on the way: undecodable."""
    FUTURE = "future"
    """Stamped two days ahead: quarantined."""
    SENTINEL = "sentinel"
    """One value is -999: written, that value withheld."""
    STUCK = "stuck"
    """The values of the hour's start, for an hour: written."""
    SILENT = "silent"
    """Nothing for an hour: not sent."""


_OF_TRANSMISSION = (
    Fault.LATE,
    Fault.DUPLICATE,
    Fault.OUT_OF_ORDER,
    Fault.MALFORMED,
    Fault.FUTURE,
)


@dataclass(frozen=True, slots=True)
class Rates:
    """How often each fault happens: of readings, but stuck and silent of a device's hours."""

    late: float = 0.01
    duplicate: float = 0.005
    out_of_order: float = 0.01
    malformed: float = 0.001
    future: float = 0.001
    sentinel: float = 0.002
    stuck: float = 0.002
    silent: float = 0.002

    def __post_init__(self) -> None:
        """Refuse what is no share. Raises ValueError."""
        for each in fields(self):
            if not 0 <= getattr(self, each.name) <= 1:
                raise ValueError(f"rate of {each.name} must be between 0 and 1")
        if sum(getattr(self, fault) for fault in _OF_TRANSMISSION) > 1:
            raise ValueError(f"rates of {', '.join(_OF_TRANSMISSION)} must not exceed 1 together")


NO_FAULTS = Rates(0, 0, 0, 0, 0, 0, 0, 0)


def of_transmission(rates: Rates, device: SimulatedDevice, time_ms: int) -> Fault | None:
    """Return what happens to a reading on its way, None for nothing."""
    drawn = unit(device.key, _TRANSMISSION, time_ms)
    for fault in _OF_TRANSMISSION:
        drawn -= float(getattr(rates, fault))
        if drawn < 0:
            return fault
    return None


def delay_ms(fault: Fault, device: SimulatedDevice, time_ms: int) -> int:
    """Return how long a late or overtaken reading is held back."""
    if fault is Fault.OUT_OF_ORDER:
        return device.period_ms + _OVERTAKEN_MS
    shortest, longest = _LATE_MS
    return shortest + int(unit(device.key, _DELAY, time_ms) * (longest - shortest))


def is_silent(rates: Rates, device: SimulatedDevice, time_ms: int) -> bool:
    """Tell whether the device says nothing in the hour of ``time_ms``."""
    return unit(device.key, _SILENT, time_ms // _WINDOW_MS) < rates.silent


def stuck_since_ms(rates: Rates, device: SimulatedDevice, time_ms: int) -> int | None:
    """Return the time whose values a stuck device repeats, None where it is not stuck."""
    window = time_ms // _WINDOW_MS
    stuck = unit(device.key, _STUCK, window) < rates.stuck
    return window * _WINDOW_MS if stuck else None


def sentinel_place(rates: Rates, device: SimulatedDevice, time_ms: int) -> float | None:
    """Return which value is replaced, in [0, 1) of the values, None for none."""
    drawn = unit(device.key, _SENTINEL, time_ms)
    return drawn / rates.sentinel if drawn < rates.sentinel else None


@dataclass(frozen=True, slots=True)
class Expected:
    """What the ledger must show: decoded messages and readings by what becomes of them."""

    messages: int
    decoded: int
    written: int
    duplicate: int
    future_time: int
    malformed: int


@dataclass(frozen=True, slots=True)
class Injected:
    """What was sent, and what of it was faulty; counts of what the broker has acknowledged.

    ``messages`` and ``readings`` count what was sent (a malformed message holds no reading), the
    others each fault.
    """

    counts: Mapping[str, int]

    def expected(self) -> Expected:
        """Return what the ledger must show of it."""
        counts = Counter(self.counts)
        future, duplicate = counts[Fault.FUTURE], counts[Fault.DUPLICATE]
        return Expected(
            messages=counts["messages"],
            decoded=counts["readings"],
            written=counts["readings"] - duplicate - future,
            duplicate=duplicate,
            future_time=future,
            malformed=counts[Fault.MALFORMED],
        )

    def as_json(self) -> dict[str, object]:
        """Return counts and expectation; words as the ledger's."""
        expected = self.expected()
        return {
            "messages": expected.messages,
            "readings": expected.decoded,
            "injected": {fault.value: self.counts.get(fault, 0) for fault in Fault},
            "expected": {
                "written": expected.written,
                "duplicate": expected.duplicate,
                "quarantined": {"future_time": expected.future_time},
                "undecodable": {"malformed": expected.malformed},
            },
        }
