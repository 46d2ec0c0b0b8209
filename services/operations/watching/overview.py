"""One look at everything: what runs, how fast it goes, and whether the counters balance."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from xmlrpc.client import (
    Fault,
)

from services.common.settings import Settings
from services.operations.local.layout import SIMULATOR, Layout, layout
from services.operations.stack.ports import LOOPBACK
from services.operations.stack.supervision import ProgramState, Supervision
from services.operations.watching.backlog import Backlog
from services.operations.watching.database_look import DatabaseLook
from services.operations.watching.rates import NEVER, Flow, Rates, Sample
from services.operations.watching.scraping import Scrape, merged, scrape, total
from services.operations.watching.sums import Sum, sums
from services.storage.figures import Figures

NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True)
class Part:
    """One server or service: what the supervisor says, and why it is not ready (None: it is)."""

    name: str
    is_server: bool
    state: str
    reason: str | None
    address: str
    pid: int | None
    running_s: int

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "name": self.name, "state": self.state, "ready": self.reason is None,
            "reason": self.reason, "address": self.address, "pid": self.pid,
            "running_s": self.running_s,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Overview:
    """What one look saw. ``figures`` and ``lag`` are None where nobody could be asked."""

    at: datetime
    parts: list[Part]
    flow: Flow
    received: float
    in_flight: int
    lag: int | None
    figures: Figures | None

    @property
    def sums(self) -> list[Sum]:
        """The counters as a balance; empty where there are none."""
        return [] if self.figures is None else sums(self.figures)

    @property
    def reachable(self) -> bool:
        """Whether every server answers."""
        return all(part.reason is None for part in self.parts if part.is_server)

    def problems(self) -> list[str]:
        """Return what is wrong, a sentence each; empty where all is well."""
        found = [f"{part.name}: {part.reason}" for part in self.parts if part.reason is not None]
        found += [f"the {one.title} do not add up" for one in self.sums if not one.holds]
        gaps = self.figures.unacknowledged_gaps if self.figures else 0
        if gaps:
            found.append(f"gaps not acknowledged: {gaps} (`citytally ledger` shows them)")
        return found

    def as_json(self) -> dict[str, Any]:
        """Return what ``citytally status --json`` prints."""
        figures = self.figures
        return {
            "ok": not self.problems(),
            "problems": self.problems(),
            "at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "servers": [part.as_json() for part in self.parts if part.is_server],
            "services": [part.as_json() for part in self.parts if not part.is_server],
            "flow": {
                "messages_in_per_s": self.flow.in_per_s,
                "messages_out_per_s": self.flow.out_per_s,
                "rows_per_s": self.flow.rows_per_s,
                "delay_p50_s": self.flow.delay_p50_s,
                "delay_p95_s": self.flow.delay_p95_s,
                "lag": self.lag,
                "drained_in_s": None if self.flow.drained_in_s == NEVER else self.flow.drained_in_s,
                "backlog_grows": self.flow.drained_in_s == NEVER,
                "in_flight_gateway": self.in_flight,
            },
            "sums": [
                {"title": one.title, one.whole: one.n, **one.parts, "holds": one.holds}
                for one in self.sums
            ],
            "rows": figures and figures.rows,
            "quarantine_open": figures and figures.open_by_reason,
            "gaps_unacknowledged": figures and figures.unacknowledged_gaps,
            "devices": figures and figures.devices,
        }


class Watcher:
    """Looks again and again, over connections that it keeps."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._layout = layout(settings)
        self._supervision = Supervision(self._layout.state_directory)
        self._database = DatabaseLook(self._layout.settings)
        self._backlog = Backlog(self._layout.settings)
        self._rates = Rates()
        self._clock = clock

    async def look(self) -> Overview:
        """Ask everybody at once; who does not answer shows as not ready."""
        scrapes, figures, states, mosquitto = await asyncio.gather(
            scrape(self._layout.health_ports()),
            self._database.figures(),
            asyncio.to_thread(self._states),
            asyncio.to_thread(self._layout.mosquitto.is_ready),
        )
        counted = figures if isinstance(figures, Figures) else None
        lag = await self._backlog.lag(counted.positions if counted else {})
        waits = {
            "mosquitto": None if mosquitto else "does not answer",
            "kafka": None if lag is not None else "does not answer",
            "postgresql": figures if isinstance(figures, str) else None,
        }
        said = list(scrapes.values())
        received = _received(said)
        return Overview(
            at=datetime.now(UTC),
            parts=_parts(self._layout, states, waits, scrapes),
            flow=self._rates.add(self._sample(said, received, counted, lag)),
            received=received,
            in_flight=int(total(said, "citytally_gateway_in_flight_messages")),
            lag=lag if counted else None,
            figures=counted,
        )

    def _states(self) -> list[ProgramState]:
        """A supervisor that is just ending, or ended between two questions, says nothing."""
        try:
            return self._supervision.states()
        except (OSError, HTTPException, Fault):
            return []

    async def close(self) -> None:
        """Let go of all connections."""
        self._database.close()
        await self._backlog.close()

    def _sample(
        self, said: list[Scrape], received: float, counted: Figures | None, lag: int | None
    ) -> Sample:
        return Sample(
            at=self._clock(),
            received=received,
            consumed=counted.messages["received"] if counted else None,
            rows=sum(counted.rows.values()) if counted else None,
            delays=merged(said, "citytally_ingest_delay_seconds"),
            lag=lag if counted else None,
        )


def _received(said: list[Scrape]) -> float:
    names = ("received_messages", "received_qos0_messages")
    return sum(total(said, f"citytally_gateway_{name}_total") for name in names)


def _parts(
    here: Layout,
    states: list[ProgramState],
    waits: dict[str, str | None],
    scrapes: Mapping[str, Scrape],
) -> list[Part]:
    supervised = {state.name: state for state in states}
    services = {name: each.reason for name, each in scrapes.items()}
    if SIMULATOR in supervised:
        state = supervised[SIMULATOR].state
        services[SIMULATOR] = None if state == "RUNNING" else state.lower()
    return [
        _part(
            name,
            reason,
            supervised.get(name),
            address=_address(here, name),
            is_server=name in waits,
        )
        for name, reason in (waits | services).items()
    ]


def _part(
    name: str, reason: str | None, state: ProgramState | None, *, address: str, is_server: bool
) -> Part:
    return Part(
        name,
        is_server,
        NOT_STARTED if state is None else state.state.lower(),
        reason,
        address,
        None if state is None else state.pid,
        0 if state is None else state.running_s,
    )


def _address(here: Layout, name: str) -> str:
    settings = here.settings
    servers = {
        "mosquitto": f"{settings.mqtt_host}:{settings.mqtt_port}",
        "kafka": settings.kafka_bootstrap,
        "postgresql": f"{settings.database_host}:{settings.database_port}/{settings.database_name}",
    }
    if name in servers:
        return servers[name]
    port = here.health_ports().get(name)
    return "" if port is None else f"http://{LOOPBACK}:{port}/metrics"
