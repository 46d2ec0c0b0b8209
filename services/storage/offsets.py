"""Where each log was read up to: the database's offsets rule, and a fence guards every step."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from services.storage.batches import Span, source_name
from services.storage.queries import query


class FencedError(Exception):
    """Somebody else moved a partition on; read the offsets again and seek there."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where one partition stands. ``witness`` is the hash of the record at ``next_offset - 1``."""

    topic: str
    generation: int
    partition: int
    topic_id: UUID | None
    next_offset: int
    witness: bytes | None

    @property
    def source(self) -> str:
        """Name of this log in the ledger."""
        return source_name(self.topic, self.generation, self.partition)


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that were gone before they could be read; ``next_offset`` None: how many, unknown."""

    topic: str
    generation: int
    partition: int
    first_offset: int
    next_offset: int | None
    cause: str


async def positions(connection: asyncpg.Connection, topic: str) -> dict[int, Position]:
    """Return where each known partition of a topic stands, in its newest generation."""
    rows = await connection.fetch(query("offsets.current"), topic)
    return {
        row["partition"]: Position(
            topic,
            row["generation"],
            row["partition"],
            row["topic_id"],
            row["next_offset"],
            row["witness"],
        )
        for row in rows
    }


async def begin(
    connection: asyncpg.Connection, topic: str, partitions: Sequence[int], topic_id: UUID
) -> None:
    """Book partitions seen for the first time: they start at 0, which is no loss."""
    rows = [(topic, partition, topic_id) for partition in partitions]
    await connection.executemany(query("offsets.first_seen"), rows)


async def learn_topic_id(
    connection: asyncpg.Connection, position: Position, topic_id: UUID
) -> None:
    """Note the identity of a log whose witness matched and whose identity was not known."""
    await connection.execute(
        query("offsets.learn_topic_id"),
        position.topic,
        position.generation,
        position.partition,
        topic_id,
    )


async def move(connection: asyncpg.Connection, spans: Sequence[Span]) -> None:
    """Move the offsets of a batch on, inside its transaction, or raise ``FencedError``.

    1. lock the rows, keys sorted; 2. move those that stand where the batch begins; 3. all or
    none, and none of a log that was replaced meanwhile.
    """
    keys = [(span.topic, span.generation, span.partition) for span in spans]
    topics, generations, partitions = map(list, zip(*keys, strict=True))
    done = await connection.execute(
        query("offsets.fence"), topics, generations, partitions,
        [span.first_offset for span in spans], [span.next_offset for span in spans],
        [span.witness for span in spans],
    )  # fmt: skip
    if done != f"UPDATE {len(spans)}":
        message = f"{done} where {len(spans)} partitions were to move: another process has them"
        raise FencedError(message)
    if await connection.fetchval(
        query("offsets.newer_generation"), topics, generations, partitions
    ):
        message = "a partition's log was replaced meanwhile"
        raise FencedError(message)


async def book_lost(
    connection: asyncpg.Connection,
    position: Position,
    following: int,
    cause: str = "expired_unread",
) -> int:
    """Book the records between our offset and the next one there is as lost; go on from there."""
    async with connection.transaction():
        done = await connection.execute(
            query("offsets.skip"), position.topic, position.generation, position.partition,
            position.next_offset, following,
        )  # fmt: skip
        if done != "UPDATE 1":
            message = f"{position.source} was moved by another process"
            raise FencedError(message)
        gap = Gap(
            position.topic, position.generation, position.partition, position.next_offset,
            following, cause,
        )  # fmt: skip
        return await _book(connection, gap)


async def book_replaced(connection: asyncpg.Connection, position: Position, topic_id: UUID) -> int:
    """Begin a new generation at 0 and book a gap of unknown size in the former one."""
    async with connection.transaction():
        done = await connection.execute(
            query("offsets.new_generation"), position.topic, position.generation + 1,
            position.partition, topic_id,
        )  # fmt: skip
        if done != "INSERT 0 1":
            message = f"{position.source} was already replaced by another process"
            raise FencedError(message)
        return await _book(
            connection,
            Gap(
                position.topic,
                position.generation,
                position.partition,
                position.next_offset,
                None,
                "log_replaced",
            ),
        )


async def _book(connection: asyncpg.Connection, gap: Gap) -> int:
    gap_id: int = await connection.fetchval(
        query("offsets.book_gap"), gap.topic, gap.generation, gap.partition, gap.first_offset,
        gap.next_offset, gap.cause,
    )  # fmt: skip
    return gap_id


async def acknowledge_gaps(
    connection: asyncpg.Connection, gap_ids: Sequence[int] | None, who: str, note: str
) -> list[asyncpg.Record]:
    """Acknowledge gaps (None: all that wait for it); return those that were, oldest first."""
    return list(await connection.fetch(query("offsets.acknowledge_gaps"), gap_ids, who, note))


async def gaps(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    """Return all gaps, oldest first."""
    return list(await connection.fetch(query("offsets.gaps")))
