"""Put a backlog into Kafka exactly as a gateway does, without one."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from services.common import kafka
from services.common.settings import Settings
from services.operations.benchmarking.scenarios import Message

CHUNK = 20_000
"""Messages that are divided among the partitions together."""

Headers = Sequence[tuple[str, bytes]]

_FLAGS = (("qos", b"1"), ("retain", b"0"), ("dup", b"0"))


async def produce(settings: Settings, messages: Iterator[Message]) -> None:
    """Return when Kafka has all messages on all in-sync replicas."""
    producer = kafka.producer(settings, "citytally-bench")
    await producer.start()
    try:
        partitions = len(await producer.partitions_for(settings.raw_topic))
        while chunk := list(islice(messages, CHUNK)):
            for partition, group in _by_partition(chunk, partitions).items():
                await _produce_group(producer, settings.raw_topic, partition, group)
    finally:
        await producer.stop()


def headers(now_ms: int) -> Headers:
    """Return the five headers that a gateway gives every message.

    With another number of them ingest would take the messages for exceptions, one by one.
    """
    return [("slot", b"gateway-0"), ("gateway_time", b"%d" % now_ms), *_FLAGS]


def _by_partition(chunk: Sequence[Message], partitions: int) -> dict[int, list[Message]]:
    groups: dict[int, list[Message]] = {}
    for message in chunk:
        partition = kafka.partition_for(message[0].encode(), partitions)
        groups.setdefault(partition, []).append(message)
    return groups


async def _produce_group(
    producer: Any,  # noqa: ANN401 -- aiokafka ships no types
    topic: str,
    partition: int,
    group: Sequence[Message],
) -> None:
    answers = [
        await producer.send_batch(batch, topic, partition=partition)
        for batch in _batches(producer, group)
    ]
    for answer in answers:
        await answer


def _batches(producer: Any, group: Sequence[Message]) -> Iterator[Any]:  # noqa: ANN401 -- likewise
    now_ms = time.time_ns() // 1_000_000
    of_all = headers(now_ms)
    batch = producer.create_batch()
    for name, payload in group:
        record = {"timestamp": now_ms, "key": name.encode(), "value": payload, "headers": of_all}
        if batch.append(**record) is None:
            yield batch
            batch = producer.create_batch()
            batch.append(**record)
    yield batch
