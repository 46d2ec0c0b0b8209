"""The loop of ingest: prove, fetch, decode, store. The database is the only commit point.

1. A partition is read only from a position that was proven against the log: on assignment, after
   every pause, fetch error, restarted broker or replaced log, and each minute.
2. What was fetched counts only if the topic still stands as it was proven, and only from our offset
   on, without a hole.
3. One batch, one transaction. The next batch is read while the database works on the last, and is
   stored after it. While the database is away both are kept, nothing is refused, and we say not
   ready.
4. Whoever finds a partition moved on by another process drops its batch and proves again.
5. Kafka's own committed offsets follow, for lag tools only.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.common.health import Health
from services.common.metrics import IngestMetrics
from services.common.retries import Backoff
from services.common.settings import Settings
from services.ingest.batch import Prepared, Records, prepare
from services.ingest.database import Database
from services.ingest.log import LOG_ERRORS, Log
from services.ingest.topic_identity import Standing, TopicIdentity
from services.storage import offsets
from services.storage.batches import Batch
from services.storage.offsets import FencedError, Position
from services.storage.transactions import store
from services.storage.writing import Paths

COMMIT_TO_KAFKA_S = 5.0
COMMIT_TIMEOUT_S = 5.0
IDLE_CHECK_S = 2.0
STOP_GRACE_S = 10.0
"""How long the batch under way may take once told to stop; then it is rolled back, and read again
by whoever comes next."""

log = structlog.get_logger(__name__)


class Assignments(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Counts assignments; the loop does the rest, since a listener's exceptions are swallowed."""

    def __init__(self) -> None:
        self.count = 0

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Need nothing: the fence guards what is still under way."""

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Note that positions are to be proven."""
        del assigned
        self.count += 1


@dataclass(frozen=True, slots=True)
class Clients:
    """The three ways in which ingest talks to Kafka."""

    reader: AIOKafkaConsumer
    identity: TopicIdentity
    proof: Log


class Consumer:
    """Reads the raw topic into the database until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        database: Database,
        health: Health,
        metrics: IngestMetrics,
    ) -> None:
        self._settings = settings
        self._kafka = clients.reader
        self._identity = clients.identity
        self._proof = clients.proof
        self._database = database
        self._health = health
        self._metrics = metrics
        self._assignments = Assignments()
        self._seen_assignments = 0
        self._positions: dict[int, Position] = {}
        self._standing: Standing | None = None
        self._proven_at = 0.0
        self._committed_at = 0.0
        self._asked_at = 0.0
        self._missed: set[tuple[int, int, int]] = set()
        self._ahead: Prepared | None = None
        self._paths = Paths()
        self._backoff = Backoff(first_s=0.1, cap_s=5.0)
        self._tolerance = timedelta(seconds=settings.future_tolerance_s)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; the batch under way is finished first.

        A server that hangs holds up neither: after ``STOP_GRACE_S`` the batch is let go.
        """
        self._kafka.subscribe([self._settings.raw_topic], listener=self._assignments)
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
        await self._database.ready()
        await self._trust()
        prepared = self._take_ahead() or await self._prepare(await self._fetch())
        if prepared is not None:
            await self._handle(prepared, stop)
        else:
            await self._check_servers()
        self._health.ready()
        self._backoff.reset()
        await self._follow_in_kafka()

    async def _prepare(self, records: Records) -> Prepared | None:
        if not records:
            return None
        return await prepare(records, self._positions, self._database.devices, self._tolerance)

    def _take_ahead(self) -> Prepared | None:
        """Return the batch that was read ahead, if it still follows where we stand."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        for span in ahead.batch.spans:
            position = self._positions.get(span.partition)
            here = None if position is None else (position.generation, position.next_offset)
            if here != (span.generation, span.first_offset):
                self._distrust()  # what was fetched is dropped, so that it is sought again
                return None
        return ahead

    async def _check_servers(self) -> None:
        """Ask both servers for a sign of life: an empty fetch doesn't tell silence from absence."""
        if self._database.idle_for(IDLE_CHECK_S):
            await self._database.check()
        if time.monotonic() - self._asked_at > IDLE_CHECK_S:
            await self._stands_as_proven()
            self._asked_at = time.monotonic()

    def _distrust(self) -> None:
        """Forget what was proven, and what was read ahead; the next step proves it again."""
        self._positions.clear()
        self._ahead = None

    async def _trust(self) -> None:
        """Prove every assigned partition that is not, and all of them each minute; then seek."""
        if self._assignments.count != self._seen_assignments:
            self._seen_assignments = self._assignments.count
            self._distrust()
        assigned = {place.partition for place in self._kafka.assignment()}
        due = time.monotonic() - self._proven_at > self._settings.verify_log_s
        if not due and assigned == self._positions.keys():
            return
        if not assigned:
            self._positions.clear()
            return
        standing = await self._identity.ask()
        proven = await self._proof.prove(self._database.connection, assigned, standing)
        for partition, position in proven.items():
            if self._positions.get(partition) != position:
                self._kafka.seek(self._place(partition), position.next_offset)
        if self._kafka.paused():
            self._kafka.resume(*self._kafka.paused())
        self._positions, self._standing = proven, standing
        self._proven_at = time.monotonic()
        self._metrics.proofs.inc()

    async def _fetch(self, *, ahead: bool = False) -> Records:
        """Gather records until the batch is full or waited long enough, and keep what we may."""
        if not self._positions:
            await asyncio.sleep(0.05)
            return {}
        places = [self._place(partition) for partition in self._positions]
        found: dict[int, list[ConsumerRecord]] = {}
        n, until = 0, None
        while n < self._settings.batch_messages:
            wait_s = (
                self._settings.batch_wait_ms / 1000 if until is None else (until - time.monotonic())
            )
            if wait_s <= 0:
                break
            fetched = await self._kafka.getmany(
                *places, timeout_ms=int(wait_s * 1000) + 1,
                max_records=self._settings.batch_messages - n,
            )  # fmt: skip
            if not fetched:
                break
            until = until or time.monotonic() + self._settings.batch_wait_ms / 1000
            for place, records in fetched.items():
                found.setdefault(place.partition, []).extend(records)
                n += len(records)
        return await self._ours(found, ahead=ahead) if found else {}

    async def _ours(self, found: Mapping[int, Sequence[ConsumerRecord]], *, ahead: bool) -> Records:
        """Keep what is of the proven log and follows our offsets."""
        if self._assignments.count != self._seen_assignments:
            self._distrust()
            return {}
        if not await self._stands_as_proven():
            return {}
        return {
            partition: following
            for partition, records in found.items()
            if (following := await self._following(partition, records, ahead=ahead))
        }

    async def _stands_as_proven(self) -> bool:
        """Whether nothing happened to the topic since it was proven; else trust nothing."""
        standing = await self._identity.ask()
        if standing == self._standing or not self._positions:
            return True
        log.info("the topic stands otherwise than proven", topic=self._settings.raw_topic)
        self._distrust()
        return False

    async def _following(
        self, partition: int, records: Sequence[ConsumerRecord], *, ahead: bool
    ) -> Sequence[ConsumerRecord]:
        """Return the records that follow our offset without a hole; seek where others came.

        A hole is booked only when nothing is being stored: the database does one thing at a time.
        """
        position = self._positions[partition]
        start, n = position.next_offset, 0
        while n < len(records) and records[n].offset == start + n:
            n += 1
        if n == len(records):
            return records
        self._metrics.out_of_step.inc()
        if n == 0 and not ahead and (partition, start, records[0].offset) in self._missed:
            await self._book_hole(position, records[0].offset)
        else:
            self._missed.add((partition, start + n, records[n].offset))
            self._kafka.seek(self._place(partition), start + n)
        return records[:n]

    async def _book_hole(self, position: Position, following: int) -> None:
        """Book offsets that hold no record for us, once seeking them has shown the same twice."""
        gap = await offsets.book_lost(self._database.connection, position, following, "not_in_log")
        log.error(
            "offsets without a record",
            source=position.source,
            gap=gap,
            first=position.next_offset,
            next=following,
        )
        partition = position.partition
        self._missed = {missed for missed in self._missed if missed[0] != partition}
        self._positions[partition] = replace(position, next_offset=following, witness=None)
        self._kafka.seek(self._place(partition), following)

    async def _handle(self, prepared: Prepared, stop: asyncio.Event) -> None:
        """Store a batch; while the database works, the next one is fetched and read."""
        began = time.monotonic()
        batch = await prepared.finish(self._database.connection)
        newest, oldest = _bounds(prepared)
        storing = asyncio.create_task(self._store(batch, newest, stop), name="store")
        self._advance(batch)
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

    def _advance(self, batch: Batch) -> None:
        """Stand behind a batch that is being stored; whoever fails to store it distrusts all."""
        for span in batch.spans:
            self._positions[span.partition] = replace(
                self._positions[span.partition],
                next_offset=span.next_offset,
                witness=span.witness,
            )

    async def _read_ahead(self) -> Prepared | None:
        """Fetch and read what follows, without the database, which is at work on the last batch."""
        return await self._prepare(await self._fetch(ahead=True))

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
                await self._database.ready()
                self._database.require_clock(newest, self._tolerance)
                await store(self._database.connection, batch, self._paths)
            except self._database.away as error:
                self._database.require(error)
                self._pause()
                waited = True
                await self._wait_for(f"database: {error!r}", stop)
                if stop.is_set():
                    return False
            else:
                self._database.used()
                if waited:
                    self._resume()
                return True

    def _pause(self) -> None:
        self._kafka.pause(*self._kafka.assignment())

    def _resume(self) -> None:
        """Fetch again, and prove first: much may have happened to the log meanwhile."""
        self._kafka.resume(*self._kafka.assignment())
        self._proven_at = -self._settings.verify_log_s

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

    async def _follow_in_kafka(self) -> None:
        if time.monotonic() - self._committed_at < COMMIT_TO_KAFKA_S or not self._positions:
            return
        self._committed_at = time.monotonic()
        assigned = self._kafka.assignment()
        following = {
            self._place(partition): position.next_offset
            for partition, position in self._positions.items()
            if self._place(partition) in assigned
        }
        try:
            # By itself it goes on trying for as long as Kafka is away.
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._kafka.commit(following)
        except (KafkaError, TimeoutError) as error:
            self._metrics.kafka_commit_failures.inc()
            log.info("Kafka's own offsets stay behind for now", detail=repr(error))

    def _place(self, partition: int) -> TopicPartition:
        return TopicPartition(self._settings.raw_topic, partition)


def _bounds(prepared: Prepared) -> tuple[datetime, datetime]:
    """Return when the newest and the oldest message of a batch were received."""
    times = [record.timestamp for record in prepared.incoming.records]
    return _moment(max(times)), _moment(min(times))


def _moment(timestamp_ms: int) -> datetime:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
