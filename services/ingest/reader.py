"""Reading the raw topic: only from proven positions, only the log that was proven, without a hole.

1. A partition is read only from a position that was proven against the log: on assignment, after
   every pause, fetch error, restarted broker or replaced log, and each minute.
2. What was fetched counts only if the topic still stands as it was proven, and only from our offset
   on, without a hole.
3. Kafka's own committed offsets follow, for lag tools only.
"""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from services.common.metrics import IngestMetrics
from services.common.settings import Settings
from services.ingest.batch import Fetched
from services.ingest.log import Log
from services.ingest.record_columns import Records
from services.ingest.topic_identity import Standing, TopicIdentity
from services.storage import offsets
from services.storage.batches import Span
from services.storage.offsets import Position

COMMIT_TO_KAFKA_S = 5.0
COMMIT_TIMEOUT_S = 5.0
IDLE_CHECK_S = 2.0

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

    kafka: AIOKafkaConsumer
    identity: TopicIdentity
    proof: Log


class Reader:
    """Reads a topic's records in order, and knows how far it has come.

    ``positions`` says where each partition goes on; it is empty for what is not proven.
    """

    def __init__(self, settings: Settings, clients: Clients, metrics: IngestMetrics) -> None:
        self._settings = settings
        self._kafka = clients.kafka
        self._identity = clients.identity
        self._proof = clients.proof
        self._metrics = metrics
        self._assignments = Assignments()
        self._seen_assignments = 0
        self._standing: Standing | None = None
        self._proven_at = 0.0
        self._committed_at = 0.0
        self._asked_at = 0.0
        self._bytes_a_message = 1024.0
        self._missed: set[tuple[int, int, int]] = set()
        self.positions: dict[int, Position] = {}

    def subscribe(self) -> None:
        """Join the group; partitions are assigned in the background."""
        self._kafka.subscribe([self._settings.raw_topic], listener=self._assignments)

    def distrust(self) -> None:
        """Forget what was proven; `trust` proves it again, and seeks."""
        self.positions.clear()

    def follows(self, spans: Sequence[Span]) -> bool:
        """Whether what was read earlier still follows where we stand."""
        for span in spans:
            position = self.positions.get(span.partition)
            here = None if position is None else (position.generation, position.next_offset)
            if here != (span.generation, span.first_offset):
                return False
        return True

    def advance(self, spans: Sequence[Span]) -> None:
        """Stand behind what is being stored; whoever fails to store it distrusts all."""
        for span in spans:
            self.positions[span.partition] = replace(
                self.positions[span.partition],
                next_offset=span.next_offset,
                witness=span.witness,
            )

    async def trust(self, connection: asyncpg.Connection) -> None:
        """Prove every assigned partition that is not, and all of them each minute; then seek."""
        if self._assignments.count != self._seen_assignments:
            self._seen_assignments = self._assignments.count
            self.distrust()
        assigned = {place.partition for place in self._kafka.assignment()}
        due = time.monotonic() - self._proven_at > self._settings.verify_log_s
        if not due and assigned == self.positions.keys():
            return
        if not assigned:
            self.positions.clear()
            return
        standing = await self._identity.ask()
        proven = await self._proof.prove(connection, assigned, standing)
        for partition, position in proven.items():
            if self.positions.get(partition) != position:
                self._kafka.seek(self._place(partition), position.next_offset)
        if self._kafka.paused():
            self._kafka.resume(*self._kafka.paused())
        self.positions, self._standing = proven, standing
        self._proven_at = time.monotonic()
        self._metrics.proofs.inc()

    async def fetch(self, connection: asyncpg.Connection | None) -> Fetched:
        """Gather records until the batch is full or waited long enough, and keep what we may.

        Without a connection, while a batch is being stored over it, nothing can be booked: a hole
        in the offsets then waits for the next fetch.
        """
        if not self.positions:
            await asyncio.sleep(0.05)
            return {}
        places = [self._place(partition) for partition in self.positions]
        found: dict[int, Records] = {}
        n, size, until = 0, 0, None
        while (wanted := self._room(n, size)) > 0:
            wait_s = (
                self._settings.batch_wait_ms / 1000 if until is None else (until - time.monotonic())
            )
            if wait_s <= 0:
                break
            fetched = await self._kafka.getmany(
                *places, timeout_ms=int(wait_s * 1000) + 1, max_records=wanted
            )
            if not fetched:
                break
            until = until or time.monotonic() + self._settings.batch_wait_ms / 1000
            for place, records in fetched.items():
                found.setdefault(place.partition, Records()).extend(records)
                n += len(records)
                size += records.payload_bytes()
            self._bytes_a_message = max(1.0, size / n)
        return await self._ours(found, connection) if found else {}

    def _room(self, n: int, size: int) -> int:
        """Return how many records more a batch may take, by their number and usual size."""
        by_size = (self._settings.batch_bytes - size) / self._bytes_a_message
        return min(self._settings.batch_messages - n, math.ceil(by_size))

    async def _ours(
        self, found: Mapping[int, Records], connection: asyncpg.Connection | None
    ) -> Fetched:
        """Keep what is of the proven log and follows our offsets."""
        if self._assignments.count != self._seen_assignments:
            self.distrust()
            return {}
        if not await self.stands_as_proven():
            return {}
        return {
            partition: following
            for partition, records in found.items()
            if len(following := await self._following(partition, records, connection))
        }

    async def stands_as_proven(self) -> bool:
        """Whether nothing happened to the topic since it was proven; else trust nothing."""
        standing = await self._identity.ask()
        if standing == self._standing or not self.positions:
            return True
        log.info("the topic stands otherwise than proven", topic=self._settings.raw_topic)
        self.distrust()
        return False

    async def _following(
        self,
        partition: int,
        records: Records,
        connection: asyncpg.Connection | None,
    ) -> Records:
        """Return the records that follow our offset without a hole; seek where others came."""
        position = self.positions[partition]
        start, n = position.next_offset, 0
        if records.offsets == list(range(start, start + len(records))):
            return records
        while records.offsets[n] == start + n:
            n += 1
        self._metrics.out_of_step.inc()
        found = records.offsets[n]
        if connection and n == 0 and found > start and (partition, start, found) in self._missed:
            await self._book_hole(connection, position, found)
        else:
            self._missed.add((partition, start + n, found))
            self._kafka.seek(self._place(partition), start + n)
        return records.part(0, n)

    async def _book_hole(
        self, connection: asyncpg.Connection, position: Position, following: int
    ) -> None:
        """Book offsets that hold no record for us, once seeking them has shown the same twice."""
        gap = await offsets.book_lost(connection, position, following, "not_in_log")
        log.error(
            "offsets without a record",
            source=position.source,
            gap=gap,
            first=position.next_offset,
            next=following,
        )
        partition = position.partition
        self._missed = {missed for missed in self._missed if missed[0] != partition}
        self.positions[partition] = replace(position, next_offset=following, witness=None)
        self._kafka.seek(self._place(partition), following)

    async def check(self) -> None:
        """Ask Kafka for a sign of life: an empty fetch doesn't tell silence from absence."""
        if time.monotonic() - self._asked_at > IDLE_CHECK_S:
            await self.stands_as_proven()
            self._asked_at = time.monotonic()

    def pause(self) -> None:
        """Fetch nothing more for now."""
        self._kafka.pause(*self._kafka.assignment())

    def resume(self) -> None:
        """Fetch again, and prove first: much may have happened to the log meanwhile."""
        self._kafka.resume(*self._kafka.assignment())
        self._proven_at = -self._settings.verify_log_s

    async def follow_in_kafka(self) -> None:
        """Move Kafka's own offsets along, now and then; what fails is tried again later."""
        if time.monotonic() - self._committed_at < COMMIT_TO_KAFKA_S or not self.positions:
            return
        self._committed_at = time.monotonic()
        assigned = self._kafka.assignment()
        following = {
            self._place(partition): position.next_offset
            for partition, position in self.positions.items()
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
