"""The ledger as a person asks for it: the balance, and beside it what Kafka still holds."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.common.kafka import consumer
from services.common.settings import Settings
from services.storage import offsets
from services.storage.balance import Balance, read_balance
from services.storage.pool import connect

KAFKA_TIMEOUT_S = 10.0


class GapError(Exception):
    """There is no such gap that waits to be acknowledged; the message says which."""


@dataclass(frozen=True, slots=True)
class Account:
    """A balance, and the records of each partition that wait in Kafka (None: nobody could say)."""

    balance: Balance
    lag: dict[int, int] | None

    @property
    def in_flight(self) -> int | None:
        """Records that Kafka holds beyond our offsets."""
        return None if self.lag is None else sum(self.lag.values())

    def as_json(self) -> dict[str, Any]:
        """Return exactly what ``citytally ledger --json`` prints."""
        return self.balance.as_json(self.in_flight)


async def account(settings: Settings, since: date | None = None) -> Account:
    """Read the balance, then ask Kafka, so that what came meanwhile counts as in flight."""
    connection = await connect(settings, "read")
    try:
        balance = await read_balance(connection, since)
    finally:
        await connection.close()
    return Account(balance, await _lag(settings, balance))


async def acknowledge(
    settings: Settings, gap_ids: Sequence[int] | None, who: str, note: str
) -> list[asyncpg.Record]:
    """Acknowledge gaps (None: all that wait for it), all or none; return them, oldest first.

    Raises:
        GapError: one of these numbers does not wait for it.
    """
    connection = await connect(settings, "operate")
    try:
        async with connection.transaction():
            done = await offsets.acknowledge_gaps(connection, gap_ids, who, note)
            strange = set(gap_ids or ()) - {row["gap_id"] for row in done}
            if strange:
                numbers = ", ".join(map(str, sorted(strange)))
                raise GapError(
                    f"no gap {numbers} waits to be acknowledged (see `citytally ledger`)"
                )
            return done
    finally:
        await connection.close()


async def _lag(settings: Settings, balance: Balance) -> dict[int, int] | None:
    try:
        async with asyncio.timeout(KAFKA_TIMEOUT_S):
            ends = await _ends(settings)
    except (KafkaError, OSError, TimeoutError):
        return None
    return {
        partition: max(0, end - balance.positions.get((settings.raw_topic, partition), 0))
        for partition, end in ends.items()
    }


async def _ends(settings: Settings) -> dict[int, int]:
    """Return the offset of the next record to come, of each partition."""
    topic = settings.raw_topic
    asking: AIOKafkaConsumer = consumer(settings, "citytally-ledger", group=None)
    try:
        await asking.start()
        # Asking for one partition, which every topic has, is what tells the client of the others.
        await asking.end_offsets([TopicPartition(topic, 0)])
        partitions = asking.partitions_for_topic(topic) or set()
        places = [TopicPartition(topic, partition) for partition in partitions]
        ends = await asking.end_offsets(places)
        return {place.partition: end for place, end in ends.items()}
    finally:
        await asking.stop()
