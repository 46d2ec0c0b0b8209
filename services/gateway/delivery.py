"""Brings a chunk into Kafka, however long that takes."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    CorruptRecordException,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from aiokafka.producer.message_accumulator import BatchBuilder

from services.common.kafka import partition_for
from services.common.metrics import GatewayMetrics
from services.common.retries import Backoff
from services.gateway.messages import Chunk, Header, Message, headers_of_chunk

log = structlog.get_logger(__name__)

# Kafka says these of what it was sent, not of itself: sending the same again would not help.
_REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError, CorruptRecordException)

_FlagHeaders = Sequence[list[Header]]


class KafkaDelivery:
    """Sends chunks to one topic.

    ``deliver`` promises, in this order:

    1. Each message goes to the partition of its MQTT topic, among those that Kafka has now.
    2. A batch for each partition is sent; all are on their way together.
    3. A batch that Kafka refuses is sent record by record, and a record that is refused alone is
       replaced by an empty one with a ``refused`` header.
    4. What failed otherwise is built and sent again, with backoff, for ever.
    5. It returns when every message is on all in-sync replicas.

    ``report`` is told why Kafka does not take records, and None when it does.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        slot: str,
        report: Callable[[str | None], None],
        metrics: GatewayMetrics,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._slot = slot
        self._report = report
        self._metrics = metrics

    async def deliver(self, chunk: Chunk) -> None:
        """Return when Kafka has all messages of the chunk. Raises what is not Kafka's absence."""
        headers = headers_of_chunk(self._slot, chunk.gateway_time_ms)
        waiting: Sequence[Message] = chunk.messages
        backoff = Backoff()
        while waiting := await self._attempt(waiting, headers):
            self._metrics.kafka_failures.inc()
            await backoff.wait()
        self._report(None)

    async def _attempt(
        self, messages: Sequence[Message], headers: _FlagHeaders
    ) -> Sequence[Message]:
        """Send messages once and return those that Kafka does not have."""
        try:
            partitions = len(await self._producer.partitions_for(self._topic))
        except KafkaError as error:
            return self._failed(messages, error)
        left = await asyncio.gather(
            *(
                self._send(batch, partition, records, headers)
                for partition, group in _by_partition(messages, partitions).items()
                for batch, records in self._batches(group, headers)
            )
        )
        return list(chain.from_iterable(left))

    def _batches(
        self, messages: list[Message], headers: _FlagHeaders
    ) -> Iterator[tuple[BatchBuilder, Sequence[Message]]]:
        """Fill batches with the messages of a partition; yield each with what is in it."""
        now_ms = time.time_ns() // 1_000_000
        batch, start = self._producer.create_batch(), 0
        for index, message in enumerate(messages):
            if _append(batch, message, headers, now_ms):
                continue
            yield batch, messages[start:index]
            batch, start = self._producer.create_batch(), index
            _append(batch, message, headers, now_ms)
        yield batch, messages[start:]

    async def _send(
        self,
        batch: BatchBuilder,
        partition: int,
        messages: Sequence[Message],
        headers: _FlagHeaders,
    ) -> Sequence[Message]:
        """Send a batch and return those of its messages that Kafka does not have."""
        try:
            await self._answer(batch, partition)
        except _REFUSALS as error:
            log.warning("batch refused", partition=partition, error=str(error))
            return await self._send_singly(partition, messages, headers)
        except KafkaError as error:
            return self._failed(messages, error)
        return ()

    async def _answer(self, batch: BatchBuilder, partition: int) -> None:
        sent_at = time.time()
        answer = await self._producer.send_batch(batch, self._topic, partition=partition)
        record = await answer
        if record.timestamp_type == 1:
            self._metrics.clock_difference.set(record.timestamp / 1000 - sent_at)

    async def _send_singly(
        self, partition: int, messages: Sequence[Message], headers: _FlagHeaders
    ) -> Sequence[Message]:
        left: list[Message] = []
        for message in messages:
            left += await self._send_one(partition, message, headers)
        return left

    async def _send_one(
        self, partition: int, message: Message, headers: _FlagHeaders
    ) -> Sequence[Message]:
        try:
            await self._answer(self._batch_of(message, headers), partition)
        except _REFUSALS as error:
            return await self._send_without_payload(partition, message, headers, error)
        except KafkaError as error:
            return self._failed([message], error)
        return ()

    async def _send_without_payload(
        self, partition: int, message: Message, headers: _FlagHeaders, reason: KafkaError
    ) -> Sequence[Message]:
        """Replace a refused record; if even the empty one is refused, it is not the record's."""
        topic, _, packet_id, flags, _ = message
        emptied = topic, b"", packet_id, flags, ("refused", str(reason).encode())
        try:
            await self._answer(self._batch_of(emptied, headers), partition)
        except KafkaError as error:
            return self._failed([message], error)
        self._metrics.refused.inc()
        return ()

    def _batch_of(self, message: Message, headers: _FlagHeaders) -> BatchBuilder:
        batch = self._producer.create_batch()
        _append(batch, message, headers, time.time_ns() // 1_000_000)
        return batch

    def _failed(self, messages: Sequence[Message], error: KafkaError) -> Sequence[Message]:
        """Say why and keep the messages for the next attempt."""
        if type(error) is KafkaError:
            # A named failure passes; an unnamed one is aiokafka's sender having crashed for good.
            raise error
        self._report(f"{type(error).__name__}: {error}")
        return messages


def _by_partition(messages: Sequence[Message], partitions: int) -> dict[int, list[Message]]:
    groups: dict[int, list[Message]] = defaultdict(list)
    for message in messages:
        groups[partition_for(message[0], partitions)].append(message)
    return groups


def _append(batch: BatchBuilder, message: Message, headers: _FlagHeaders, now_ms: int) -> bool:
    """Add a record to a batch; False when it is full."""
    topic, payload, _, flags, note = message
    of_message = headers[flags] if note is None else [*headers[flags], note]
    return batch.append(timestamp=now_ms, key=topic, value=payload, headers=of_message) is not None
