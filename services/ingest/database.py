"""Ingest's one connection: opened when needed, with the registry learned and listened for."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from services.common.metrics import IngestMetrics
from services.common.settings import Settings
from services.ingest.devices import Devices
from services.operations.mending import replay_registered
from services.storage import registry
from services.storage.failures import AWAY, UnavailableError, is_unavailable
from services.storage.pool import connect
from services.storage.queries import query

SWEEP_MESSAGES = 100
"""Messages of newly registered devices that one sweep replays, so that live data is not held up."""

CLOSE_TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


class Database:
    """Owns the connection. Whoever catches one of ``away`` hands it to ``require``."""

    away = (asyncpg.PostgresError, asyncpg.InterfaceError, *AWAY)
    """What may mean that the database can't be used now; ``require`` raises what doesn't."""

    def __init__(self, settings: Settings, devices: Devices, metrics: IngestMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._connection: asyncpg.Connection | None = None
        self._used_at = 0.0
        self._learned_at = 0.0
        self._notified = asyncio.Event()
        self._clock_ahead = timedelta()
        self.devices = devices

    @property
    def connection(self) -> asyncpg.Connection:
        """The open connection."""
        if self._connection is None:
            raise UnavailableError("not connected")
        return self._connection

    async def ready(self) -> None:
        """Connect if need be; learn the registry, and sweep quarantine, where they are due."""
        if self._connection is None or self._connection.is_closed():
            await self._connect()
        due = time.monotonic() - self._learned_at > self._settings.sweep_s
        if due or self._notified.is_set():
            await self._learn()

    async def _connect(self) -> None:
        self._connection = await connect(self._settings, "ingest")
        await self._connection.add_listener(registry.CHANGED, self._on_notified)
        now = await self._connection.fetchval(query("pool.clock"))
        self._clock_ahead = now - datetime.now(UTC)
        self._notified.set()

    def _on_notified(self, *_: object) -> None:
        self._notified.set()

    async def _learn(self) -> None:
        """Learn what was registered, and take what it had sent out of quarantine.

        The mark is cleared first: a change that comes meanwhile sets it again.
        """
        self._notified.clear()
        await self.devices.refresh(self.connection)
        replayed = await replay_registered(self.connection, self._settings, SWEEP_MESSAGES)
        if replayed:
            log.info("replayed what newly registered devices had sent", messages=replayed)
        if replayed == SWEEP_MESSAGES:
            self._notified.set()
        gaps = await self.connection.fetchval(query("figures.unacknowledged_gaps"))
        self._metrics.unacknowledged_gaps.set(gaps)
        self._learned_at = time.monotonic()

    def require(self, error: BaseException) -> None:
        """Let go of the connection if the database is away; raise what is a mistake of ours."""
        if not is_unavailable(error):
            raise error
        self.let_go()

    def let_go(self) -> None:
        """Drop the connection without a goodbye; the server rolls back what was not committed."""
        if self._connection is not None and not self._connection.is_closed():
            self._connection.terminate()
        self._connection = None

    def require_clock(self, received_at: datetime, tolerance: timedelta) -> None:
        """Wait where Kafka's clock runs well ahead of the database's: one of them is wrong.

        Judging readings by such a receipt would let wrong times pass, or refuse right ones.
        """
        ahead = received_at - (datetime.now(UTC) + self._clock_ahead)
        if ahead > tolerance:
            raise UnavailableError(f"Kafka's clock is {ahead} ahead of the database's")

    def used(self) -> None:
        """Note that the database has just answered."""
        self._used_at = time.monotonic()

    def idle_for(self, seconds: float) -> bool:
        """Whether nobody asked the database anything for that long."""
        return time.monotonic() - self._used_at > seconds

    async def check(self) -> None:
        """Ask the database for a sign of life."""
        await self.connection.fetchval(query("pool.clock"))
        self.used()

    async def close(self) -> None:
        """Close the connection; a server that is away is not waited for."""
        if self._connection is None or self._connection.is_closed():
            return
        try:
            await self._connection.close(timeout=CLOSE_TIMEOUT_S)
        except self.away as error:
            self.require(error)
