"""What is sent now: each device's next reading when it is due, and what was held back."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence

from services.simulator import faults
from services.simulator.city import SimulatedDevice
from services.simulator.faults import Fault, Rates
from services.simulator.sending import Composer, Sending

Held = tuple[int, int, int, str]
"""A reading held back: due (epoch ms), index of its device, its time (epoch ms), its fault."""


class Live:
    """The city's readings in the order in which they are due, from ``from_ms`` on.

    After a restart it goes on where it was: readings due earlier have been sent, those in ``held``
    are sent when they are due.
    """

    def __init__(
        self,
        city: Sequence[SimulatedDevice],
        rates: Rates,
        from_ms: int,
        held: Sequence[Held] = (),
    ) -> None:
        self._city = city
        self._rates = rates
        self._composer = Composer(rates)
        self._held = list(held)
        heapq.heapify(self._held)
        self._due = [_first(device, index, from_ms) for index, device in enumerate(city)]
        heapq.heapify(self._due)
        self.silenced: Counter[str] = Counter()

    @property
    def held(self) -> list[Held]:
        """What is held back now, as the state file keeps it."""
        return sorted(self._held)

    def until(self, now_ms: int) -> Iterator[Sending]:
        """Yield what is due before ``now_ms``."""
        while self._due[0][0] < now_ms:
            _due_ms, index, time_ms = self._due[0]
            device = self._city[index]
            following_ms = time_ms + device.period_ms
            heapq.heapreplace(self._due, (device.due_ms(following_ms), index, following_ms))
            yield from self._send_or_hold(index, time_ms)
        while self._held and self._held[0][0] < now_ms:
            yield self._release()

    def flush(self) -> Iterator[Sending]:
        """Yield all that is held back, whether due or not: the simulation ends."""
        while self._held:
            yield self._release()

    def _send_or_hold(self, index: int, time_ms: int) -> Iterator[Sending]:
        device = self._city[index]
        if faults.is_silent(self._rates, device, time_ms):
            self.silenced[Fault.SILENT] += 1
            return
        fault = faults.of_transmission(self._rates, device, time_ms)
        if fault in (Fault.LATE, Fault.OUT_OF_ORDER):
            due_ms = device.due_ms(time_ms) + faults.delay_ms(fault, device, time_ms)
            heapq.heappush(self._held, (due_ms, index, time_ms, fault.value))
            return
        sending = self._composer.single(device, time_ms, fault)
        yield sending
        if fault is Fault.DUPLICATE:
            yield self._composer.again(sending)

    def _release(self) -> Sending:
        _due_ms, index, time_ms, fault = heapq.heappop(self._held)
        return self._composer.single(self._city[index], time_ms, Fault(fault))


def _first(device: SimulatedDevice, index: int, from_ms: int) -> tuple[int, int, int]:
    """Return when a device's first reading due from ``from_ms`` on is sent, and its time."""
    time_ms = device.times_ms(from_ms, from_ms + device.period_ms)[0]
    return device.due_ms(time_ms), index, time_ms
