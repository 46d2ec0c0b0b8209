"""What was due before the simulator ran, or while it did not: an hour of a device a message.

The newest hour comes first, so that there is something to see at once. A place within a gap is
kept exactly, so that nothing is sent twice after a restart.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.simulator import faults
from services.simulator.city import SimulatedDevice
from services.simulator.faults import Rates
from services.simulator.sending import Composer, Sending

HOUR_MS = 3_600_000
MESSAGE_READINGS = 300
"""Readings of one message at most; a message may have 256 KiB, a reading takes a fifth of one."""


@dataclass(slots=True)
class Gap:
    """Readings due from ``from_ms`` until before ``to_ms`` that are still to be sent.

    Of its last hour the devices before ``device_index`` are done.
    """

    from_ms: int
    to_ms: int
    device_index: int = 0


class History:
    """The gaps of a city, worked off from the newest hour back."""

    def __init__(
        self, city: Sequence[SimulatedDevice], rates: Rates, gaps: Sequence[Gap] = ()
    ) -> None:
        self._city = city
        self._rates = rates
        self._composer = Composer(rates)
        self._gaps = [gap for gap in gaps if gap.from_ms < gap.to_ms]
        self.silenced: Counter[str] = Counter()

    @property
    def remaining(self) -> list[Gap]:
        """What is still to be sent, as the state file keeps it."""
        return list(self._gaps)

    def sendings(self, readings: int) -> Iterator[Sending]:
        """Yield messages of about ``readings`` readings in all; take all of them."""
        sent = 0
        while self._gaps and sent < readings:
            device, times_ms = self._next()
            sent += len(times_ms)
            for first in range(0, len(times_ms), MESSAGE_READINGS):
                yield self._composer.many(device, times_ms[first : first + MESSAGE_READINGS])

    def _next(self) -> tuple[SimulatedDevice, list[int]]:
        """Return one device's hour without what it was silent in, and move on behind it."""
        gap = self._gaps[-1]
        hour_from = max(gap.from_ms, (gap.to_ms - 1) // HOUR_MS * HOUR_MS)
        # A city that has shrunk since the state was saved has no device at its old place.
        device = self._city[min(gap.device_index, len(self._city) - 1)]
        due = device.times_ms(hour_from, gap.to_ms)
        spoken = [time for time in due if not faults.is_silent(self._rates, device, time)]
        self.silenced[faults.Fault.SILENT] += len(due) - len(spoken)
        gap.device_index += 1
        if gap.device_index >= len(self._city):
            gap.device_index, gap.to_ms = 0, hour_from
        if gap.to_ms <= gap.from_ms:
            self._gaps.pop()
        return device, spoken
