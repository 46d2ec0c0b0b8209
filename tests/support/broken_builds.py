"""Builds that break a promise on purpose, for the drill to find.

Each is a change made to a service's process as it starts, by a `sitecustomize` module that a test
puts in its way; nothing of the product knows of it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import asyncpg

from services.gateway.delivery import KafkaDelivery
from services.gateway.messages import Chunk
from services.ingest import consumer
from services.storage import books, offsets, transactions
from services.storage.batches import Batch, Span
from services.storage.writing import Paths

PROJECT = Path(__file__).resolve().parents[2]

_SITECUSTOMIZE = """\
import sys

if "{service}" in sys.orig_argv:
    from tests.support import broken_builds

    broken_builds.{change}()
"""


def acknowledge_before_kafka() -> None:
    """A gateway whose delivery is done before Kafka has answered."""
    deliver = KafkaDelivery.deliver
    on_their_way: set[asyncio.Task[None]] = set()

    async def hasty(self: KafkaDelivery, chunk: Chunk) -> None:
        task = asyncio.create_task(deliver(self, chunk))
        on_their_way.add(task)
        task.add_done_callback(on_their_way.discard)

    KafkaDelivery.deliver = hasty  # type: ignore[method-assign]


def commit_offsets_first() -> None:
    """An ingest whose offsets move in a transaction before the one that stores."""
    move, store = offsets.move, transactions.store

    async def nothing(connection: asyncpg.Connection, spans: Sequence[Span]) -> None:
        """Leave the offsets, which have moved already, where they are."""
        del connection, spans

    async def hasty(connection: asyncpg.Connection, batch: Batch, paths: Paths) -> None:
        async with connection.transaction():
            await move(connection, batch.spans)
        await store(connection, batch, paths)

    offsets.move = nothing
    consumer.store = hasty  # type: ignore[attr-defined]


def count_one_too_many() -> None:
    """An ingest that counts one message more than there are in each batch."""
    keep = books.keep

    async def generous(connection: asyncpg.Connection, batch: Batch, batch_id: int) -> None:
        for key in list(batch.tally.messages)[:1]:
            batch.tally.messages[key] += 1
        await keep(connection, batch, batch_id)

    books.keep = generous


def environment_of(folder: Path, service: str, change: Callable[[], None]) -> Mapping[str, str]:
    """Put a `sitecustomize` in a folder and return the variables by which processes find it."""
    text = _SITECUSTOMIZE.format(service=service, change=change.__name__)
    (folder / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": f"{folder}:{PROJECT}"}
