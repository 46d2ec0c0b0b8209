"""The loop of ingest: fetch, decode, store. The database is the only commit point.

1. Records come from `reader`, which proves the log before it reads.
2. One batch, one transaction. The next batch is read while the database works on the last, and is
   stored after it.
3. While the database is away both are kept, nothing is refused, and we say not ready.
4. Whoever finds a partition moved on by another process drops its batch and proves again.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import structlog

from services.common.health import Health
from services.common.metrics import IngestMetrics
from services.common.retries import Backoff
from services.common.settings import Settings
from services.ingest.batch import Fetched, Prepared, prepare
from services.ingest.database import Database
from services.ingest.log import LOG_ERRORS
from services.ingest.reader import IDLE_CHECK_S, Reader
from services.storage.batches import Batch
from services.storage.offsets import FencedError
from services.storage.transactions import store
from services.storage.writing import Paths

STOP_GRACE_S = 10.0
"""How long the batch under way may take once told to stop; then it is rolled back, and read again
by whoever comes next."""

DATABASE = "the database"

log = structlog.get_logger(__name__)


class Consumer:
    """Reads the raw topic into the database until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        reader: Reader,
        database: Database,
        health: Health,
        metrics: IngestMetrics,
    ) -> None:
        self._reader = reader
        self._database = database
        self._health = health
        self._metrics = metrics
        self._ahead: Prepared | None = None
        self._paths = Paths()
        self._backoff = Backoff(first_s=0.1, cap_s=5.0)
        self._tolerance = timedelta(seconds=settings.future_tolerance_s)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; the batch under way is finished first.

        A server that hangs holds up neither: after ``STOP_GRACE_S`` the batch is let go.
        """
        self._reader.subscribe()
        working = asyncio.create_task(self._work(stop), name="work")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        _, unfinished = await asyncio.wait({working}, timeout=STOP_GRACE_S)
        if unfinished:
            log.warning("the batch under way is let go: a server does not answer")
            self._database.let_go()
            working.cancel()
            await asyncio.wait({working})
        if not working.cancelled():
            working.result()

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._health.tick()
            try:
                await self._step(stop)
            except FencedError as error:
                self._metrics.fenced.inc()
                log.info("moved on by another process", detail=str(error))
                self._distrust()
            except LOG_ERRORS as error:
                self._distrust()
                await self._wait_for(f"Kafka: {error!r}", stop)
            except self._database.away as error:
                self._database.require(error)
                self._distrust()
                await self._wait_for(f"database: {error!r}", stop)

    async def _step(self, stop: asyncio.Event) -> None:
        with self._health.waiting_for(DATABASE):
            await self._database.ready()
        with self._health.waiting_for("the database or Kafka"):
            await self._reader.trust(self._database.connection)
        prepared = self._take_ahead()
        if prepared is None:
            prepared = await self._prepare(await self._reader.fetch(self._database.connection))
        if prepared is not None:
            await self._handle(prepared, stop)
        else:
            await self._check_servers()
        self._health.ready()
        self._backoff.reset()
        await self._reader.follow_in_kafka()

    async def _prepare(self, records: Fetched) -> Prepared | None:
        if not records:
            return None
        positions, devices = self._reader.positions, self._database.devices
        return await prepare(records, positions, devices, self._tolerance)

    def _take_ahead(self) -> Prepared | None:
        """Return the batch that was read ahead, if it still follows where we stand."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and not self._reader.follows(ahead.batch.spans):
            self._distrust()  # what was fetched is dropped, so that it is sought again
            return None
        return ahead

    async def _check_servers(self) -> None:
        """Ask both servers for a sign of life."""
        if self._database.idle_for(IDLE_CHECK_S):
            with self._health.waiting_for(DATABASE):
                await self._database.check()
        await self._reader.check()

    def _distrust(self) -> None:
        """Forget what was proven, and what was read ahead; the next step proves it again."""
        self._reader.distrust()
        self._ahead = None

    async def _handle(self, prepared: Prepared, stop: asyncio.Event) -> None:
        """Store a batch; while the database works, the next one is fetched and read."""
        began = time.monotonic()
        with self._health.waiting_for(DATABASE):
            batch = await prepared.finish(self._database.connection)
        newest, oldest = _bounds(prepared)
        storing = asyncio.create_task(self._store(batch, newest, stop), name="store")
        self._reader.advance(batch.spans)
        ahead = asyncio.create_task(self._read_ahead(), name="read ahead")
        stored, read = await asyncio.gather(storing, ahead, return_exceptions=True)
        for result in (stored, read):
            if isinstance(result, BaseException):
                raise result
        if not stored:
            self._distrust()
            return
        self._ahead = read if isinstance(read, Prepared) else None
        self._count(batch, time.monotonic() - began, oldest)

    async def _read_ahead(self) -> Prepared | None:
        """Fetch and read what follows, without the database, which is at work on the last batch."""
        return await self._prepare(await self._reader.fetch(None))

    def _count(self, batch: Batch, store_s: float, oldest: datetime) -> None:
        metrics = self._metrics
        metrics.batches.inc()
        metrics.messages.inc(sum(span.next_offset - span.first_offset for span in batch.spans))
        metrics.readings.inc(
            sum(n for key, n in batch.tally.readings.items() if key[3] == "decoded")
        )
        metrics.refused.inc(len(batch.refused))
        metrics.store_time.observe(store_s)
        metrics.delay.observe(max(0.0, (datetime.now(UTC) - oldest).total_seconds()))

    async def _store(self, batch: Batch, newest: datetime, stop: asyncio.Event) -> bool:
        """Store the batch, however long the database is away; False if told to stop meanwhile."""
        waited = False
        while True:
            try:
                with self._health.waiting_for(DATABASE):
                    await self._database.ready()
                    self._database.require_clock(newest, self._tolerance)
                    await store(self._database.connection, batch, self._paths)
            except self._database.away as error:
                self._database.require(error)
                self._reader.pause()
                waited = True
                await self._wait_for(f"database: {error!r}", stop)
                if stop.is_set():
                    return False
            else:
                self._database.used()
                if waited:
                    self._reader.resume()
                return True

    async def _wait_for(self, reason: str, stop: asyncio.Event) -> None:
        """Say not ready, wait a little longer each time, and trust nothing afterwards."""
        self._health.not_ready(reason)
        self._metrics.pauses.inc()
        log.warning("waiting", reason=reason)
        waiting = asyncio.ensure_future(self._backoff.wait())
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, stopped):
            task.cancel()
        self._health.tick()


def _bounds(prepared: Prepared) -> tuple[datetime, datetime]:
    """Return when the newest and the oldest message of a batch were received."""
    times = prepared.incoming.records.timestamps
    return _moment(max(times)), _moment(min(times))


def _moment(timestamp_ms: int) -> datetime:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
