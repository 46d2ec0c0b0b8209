"""Run a city: live readings when they are due, history beside them at a bounded rate.

1. The devices are registered, origin simulated, before anything is sent.
2. Messages are published; what the broker has acknowledged is counted and saved every few seconds.
3. At the end what is held back is sent, every answer awaited, and the state saved.

After a clean end the counts are exact. After a kill, what was sent since the last save is sent
again: values are pure functions of seed, device and time, so it is a duplicate and never a
conflict, but one that the counts do not know.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.operations.replaying.play import Publishes, Register
from services.simulator import city as cities
from services.simulator.faults import Injected, Rates
from services.simulator.history import HOUR_MS, Gap, History
from services.simulator.live import Live
from services.simulator.sending import Sending
from services.simulator.state import State, StateFile

_STEP_S = 0.25
_SAVE_EVERY_S = 2.0
_FINISH_S = 10.0
_CATCH_UP_MS = 10 * 60_000
"""After a shorter absence devices simply go on; after a longer one they send what they kept."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate.

    ``rate_factor`` makes stations and probes report more often; ``history_rate`` bounds history in
    readings a second, so that live readings and other work are not crowded out.
    """

    seed: int = 1
    devices: int = 300
    history_days: float = 3.0
    rate_factor: float = 1.0
    history_rate: int = 4000
    rates: Rates = field(default_factory=Rates)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What one run sent, what all runs of the city sent, and whether all of it was answered."""

    run: Injected
    total: Injected
    complete: bool
    history_left: bool
    refused: int

    def as_json(self) -> dict[str, object]:
        """Return the run's counts with the city's in ``total``."""
        return {
            **self.run.as_json(),
            "total": self.total.as_json(),
            "complete": self.complete,
            "history_left": self.history_left,
            "refused": self.refused,
        }


class Simulation:
    """One run of a city, from its saved state on."""

    def __init__(
        self,
        plan: Plan,
        publisher: Publishes,
        state_file: StateFile,
        *,
        clock: Callable[[], float] = time.time,
        on_progress: Callable[[Injected], None] = lambda _injected: None,
    ) -> None:
        self._publisher = publisher
        self._state_file = state_file
        self._clock = clock
        self._on_progress = on_progress
        self._plan = plan
        self._city = cities.city(plan.seed, plan.devices, rate_factor=plan.rate_factor)
        self._state = continued(plan, state_file.load(), self._now_ms())
        self._live = Live(
            self._city,
            plan.rates,
            self._state.live_until_ms,
            [held for held in self._state.held if held[1] < plan.devices],
        )
        self._history = History(self._city, plan.rates, self._state.gaps)
        self._before = Counter(self._state.counts)
        self._unsaved: Counter[str] = Counter()
        self._reached_ms = self._state.live_until_ms

    async def register(self, register: Register) -> None:
        """Register all devices; their data begins before the history."""
        begins = datetime.fromtimestamp((self._state.history_from_ms - HOUR_MS) / 1000, UTC)
        await register(
            devices=list(cities.registry_devices(self._city, begins)),
            sites=list(cities.registry_sites(self._city)),
            deployments=list(cities.registry_deployments(self._city, begins)),
        )

    async def run(self, stop: asyncio.Event) -> Simulated:
        """Send until ``stop`` is set, then finish, or give up on a broker that is away."""
        working = asyncio.create_task(self._work(stop), name="simulation")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([working], timeout=_FINISH_S)
        finally:
            complete = working.done()
            stopping.cancel()
            working.cancel()
            await asyncio.wait([working, stopping])
        if complete:
            working.result()
        return self._result(complete)

    async def _work(self, stop: asyncio.Event) -> None:
        saved_at = time.monotonic()
        while not stop.is_set():
            await self._send(self._live.until(self._advance()))
            await self._send(self._history.sendings(int(self._plan.history_rate * _STEP_S)))
            if time.monotonic() - saved_at >= _SAVE_EVERY_S:
                await self._save()
                saved_at = time.monotonic()
            await _rest(stop)
        await self._send(self._live.flush())
        await self._save()

    def _advance(self) -> int:
        """Move on to now; a clock that steps back waits for the time that is already sent."""
        self._reached_ms = max(self._reached_ms, self._now_ms())
        return self._reached_ms

    async def _send(self, sendings: Iterable[Sending]) -> None:
        messages = []
        for sending in sendings:
            messages.append((sending.topic, sending.payload))
            self._unsaved.update(sending.counts)
        if messages:
            await self._publisher.publish(messages)

    async def _save(self) -> None:
        """Wait for all answers, then save: what is in the file has been acknowledged."""
        await self._publisher.drain()
        for source in (self._live, self._history):
            self._unsaved.update(source.silenced)
            source.silenced.clear()
        self._state.counts.update(self._unsaved)
        self._unsaved.clear()
        self._state.live_until_ms = self._reached_ms
        self._state.held = self._live.held
        self._state.gaps = self._history.remaining
        self._state_file.save(self._state)
        self._on_progress(self._of_this_run())

    def _of_this_run(self) -> Injected:
        return Injected(self._state.counts - self._before)

    def _result(self, complete: bool) -> Simulated:
        return Simulated(
            run=self._of_this_run(),
            total=Injected(self._state.counts),
            complete=complete,
            history_left=bool(self._history.remaining),
            refused=self._publisher.refused,
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def continued(plan: Plan, state: State | None, now_ms: int) -> State:
    """Return the state from which to go on at ``now_ms``."""
    oldest_ms = now_ms - int(plan.history_days * 24 * HOUR_MS)
    if state is None:
        begins_ms = oldest_ms // HOUR_MS * HOUR_MS if plan.history_days else now_ms
        return State(begins_ms, now_ms, [Gap(begins_ms, now_ms)])
    if now_ms - state.live_until_ms > _CATCH_UP_MS:
        state.gaps.append(Gap(max(state.live_until_ms, oldest_ms), now_ms))
        state.live_until_ms = now_ms
    return state


async def _rest(stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), _STEP_S)
    except TimeoutError:
        return
