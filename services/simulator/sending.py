"""Messages of the simulated city, each with what it adds to the counts."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.simulator import faults
from services.simulator.city import SimulatedDevice
from services.simulator.faults import Fault, Rates
from services.simulator.observing import Fields, observe

_SENTINEL = -999.0
# Off every device's grid, so that a reading which is let in later meets no real one.
_AHEAD_MS = 2 * 86_400_000 + 1

Reading = dict[str, object]


@dataclass(frozen=True, slots=True)
class Sending:
    """One message to publish, and what it adds to the counts once it is acknowledged."""

    topic: str
    payload: bytes
    counts: Counter[str]


class Composer:
    """Composes messages of devices under fault rates; holds no state of its own."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates

    def single(self, device: SimulatedDevice, time_ms: int, fault: Fault | None) -> Sending:
        """Return the message of one reading as the fault leaves it (a duplicate is sent twice)."""
        counts: Counter[str] = Counter(messages=1)
        reading = self._reading(device, time_ms, counts)
        if fault is Fault.FUTURE:
            # Refused as a whole, so a sentinel within it is none that was stored.
            counts = Counter(messages=1)
            reading["time"] = _rfc3339(time_ms + _AHEAD_MS)
        if fault is not None:
            counts[fault] += 1
        payload = _encoded(reading)
        if fault is Fault.MALFORMED:
            counts = Counter({"messages": 1, fault: 1})
            return Sending(device.topic, payload[: len(payload) * 2 // 3], counts)
        counts["readings"] += 1
        return Sending(device.topic, payload, counts)

    def again(self, sending: Sending) -> Sending:
        """Return the second copy of a message."""
        return Sending(sending.topic, sending.payload, Counter(messages=1, readings=1))

    def many(self, device: SimulatedDevice, times_ms: Sequence[int]) -> Sending:
        """Return one message of many readings, as a device that was offline sends them."""
        counts: Counter[str] = Counter(messages=1, readings=len(times_ms))
        readings = [self._reading(device, time_ms, counts) for time_ms in times_ms]
        return Sending(device.topic, _encoded(readings), counts)

    def _reading(self, device: SimulatedDevice, time_ms: int, counts: Counter[str]) -> Reading:
        stuck_ms = faults.stuck_since_ms(self._rates, device, time_ms)
        counts[Fault.STUCK] += stuck_ms is not None
        measured = observe(device, (time_ms if stuck_ms is None else stuck_ms) / 1000)
        place = faults.sentinel_place(self._rates, device, time_ms)
        if place is not None:
            counts[Fault.SENTINEL] += 1
            _put_sentinel(measured, place)
        reading: Reading = {"time": _rfc3339(time_ms), "simulated": True, **measured}
        if device.model.interval_s is not None:
            reading["interval_s"] = device.model.interval_s
        return reading


def _put_sentinel(measured: Fields, place: float) -> None:
    numbers = [name for name, value in measured.items() if not isinstance(value, str)]
    measured[numbers[int(place * len(numbers))]] = _SENTINEL


def _encoded(value: Reading | list[Reading]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _rfc3339(time_ms: int) -> str:
    at = datetime.fromtimestamp(time_ms // 1000, UTC)
    fraction = f".{time_ms % 1000:03d}" if time_ms % 1000 else ""
    return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}Z"
