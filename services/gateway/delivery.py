"""Brings a chunk into Kafka, however long that takes."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import structlog
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    CorruptRecordException,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NoError,
    RecordListTooLargeError,
    UnknownError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.produce import ProduceRequest

from services.common.kafka import BATCH_BYTES, REQUEST_TIMEOUT_MS, partition_for
from services.common.metrics import GatewayMetrics
from services.common.retries import Backoff
from services.gateway.messages import Chunk, Message
from services.gateway.records import RecordHeaders, record_batch

log = structlog.get_logger(__name__)

# Kafka says these of what it was sent, not of itself: sending the same again would not help.
_REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError, CorruptRecordException)

_ALL_IN_SYNC_REPLICAS = -1


class _Batch(NamedTuple):
    partition: int
    messages: Sequence[Message]
    data: bytes


class KafkaDelivery:
    """Sends chunks to one topic.

    ``deliver`` promises, in this order:

    1. Each message goes to the partition of its MQTT topic, among those that Kafka has now.
    2. Each broker is sent one request with a batch for each partition that it leads.
    3. A batch that Kafka refuses is sent record by record, and a record that is refused alone is
       replaced by an empty one with a ``refused`` header.
    4. What failed otherwise is built and sent again, with backoff, for ever.
    5. It returns when every message is on all in-sync replicas.

    ``report`` is told why Kafka does not take records, and None when it does.
    """

    def __init__(
        self,
        client: AIOKafkaClient,
        topic: str,
        slot: str,
        report: Callable[[str | None], None],
        metrics: GatewayMetrics,
    ) -> None:
        self._client = client
        self._topic = topic
        self._slot = slot
        self._report = report
        self._metrics = metrics

    async def deliver(self, chunk: Chunk) -> None:
        """Return when Kafka has all messages of the chunk. Raises what is not Kafka's absence."""
        headers = RecordHeaders(self._slot, chunk.gateway_time_ms)
        waiting: Sequence[Message] = chunk.messages
        backoff = Backoff()
        while waiting := await self._attempt(waiting, headers):
            self._metrics.kafka_failures.inc()
            self._client.force_metadata_update()
            await backoff.wait()
        self._report(None)

    async def _attempt(
        self, messages: Sequence[Message], headers: RecordHeaders
    ) -> Sequence[Message]:
        """Send messages once and return those that Kafka does not have."""
        partitions = self._client.cluster.partitions_for_topic(self._topic)
        if not partitions:
            return self._failed(messages, UnknownTopicOrPartitionError(self._topic))
        waiting = [
            _batches(partition, group, headers)
            for partition, group in _by_partition(messages, len(partitions)).items()
        ]
        left: list[Message] = []
        # Kafka takes one batch of a partition a request.
        while batches := [batch for each in waiting if (batch := next(each, None))]:
            left += await self._send(batches, headers)
        return left

    async def _send(self, batches: Sequence[_Batch], headers: RecordHeaders) -> list[Message]:
        """Send batches of different partitions; return those messages that Kafka does not have."""
        left: list[Message] = []
        errors = await self._errors(batches)
        for batch in batches:
            error = errors[batch.partition]
            if isinstance(error, _REFUSALS):
                log.warning("batch refused", partition=batch.partition, error=str(error))
                left += await self._send_singly(batch, headers)
            elif error is not None:
                left += self._failed(batch.messages, error)
        return left

    async def _send_singly(self, batch: _Batch, headers: RecordHeaders) -> list[Message]:
        left: list[Message] = []
        for message in batch.messages:
            error = await self._error_of(batch.partition, message, headers)
            if isinstance(error, _REFUSALS):
                error = await self._send_without_payload(batch.partition, message, headers, error)
            if error is not None:
                left += self._failed([message], error)
        return left

    async def _send_without_payload(
        self, partition: int, message: Message, headers: RecordHeaders, reason: KafkaError
    ) -> KafkaError | None:
        """Replace a refused record; if even the empty one is refused, it is not the record's."""
        topic, _, packet_id, flags, _ = message
        emptied = topic, b"", packet_id, flags, ("refused", str(reason).encode())
        error = await self._error_of(partition, emptied, headers)
        if error is None:
            self._metrics.refused.inc()
        return error

    async def _error_of(
        self, partition: int, message: Message, headers: RecordHeaders
    ) -> KafkaError | None:
        (batch,) = _batches(partition, [message], headers)
        return (await self._errors([batch]))[partition]

    async def _errors(self, batches: Sequence[_Batch]) -> Mapping[int, KafkaError | None]:
        """Send batches of different partitions; return by partition what is wrong with each."""
        by_leader: dict[int | None, list[_Batch]] = defaultdict(list)
        for batch in batches:
            place = TopicPartition(self._topic, batch.partition)
            by_leader[self._client.cluster.leader_for_partition(place)].append(batch)
        errors: dict[int, KafkaError | None] = {}
        for found in await asyncio.gather(*(self._request(*each) for each in by_leader.items())):
            errors |= found
        return errors

    async def _request(
        self, leader: int | None, batches: Sequence[_Batch]
    ) -> Mapping[int, KafkaError | None]:
        """Send batches to the broker that leads their partitions, as one request.

        Without a leader it fails as with a broker that cannot be reached.
        """
        data = [(batch.partition, batch.data) for batch in batches]
        topics = [(self._topic, data)]
        request = ProduceRequest(None, _ALL_IN_SYNC_REPLICAS, REQUEST_TIMEOUT_MS, topics)
        try:
            codes = await self._answer(leader, request)
        except KafkaError as error:
            return dict.fromkeys([partition for partition, _ in data], error)
        return {partition: _error(codes.get(partition)) for partition, _ in data}

    async def _answer(self, leader: int | None, request: ProduceRequest) -> Mapping[int, int]:
        """Return the code that Kafka answers for each partition. Raises KafkaError without one."""
        sent_at = time.time()
        try:
            answer = await self._client.send(leader, request)
        except RuntimeError as error:  # uvloop's, about a connection that was lost just now
            raise KafkaConnectionError(str(error)) from error
        codes: dict[int, int] = {}
        for _, partitions in answer.topics:
            for partition, code, _, append_ms, *_ in partitions:
                codes[partition] = code
                if append_ms >= 0:
                    self._metrics.clock_difference.set(append_ms / 1000 - sent_at)
        return codes

    def _failed(self, messages: Sequence[Message], error: KafkaError) -> Sequence[Message]:
        """Say why and keep the messages for the next attempt."""
        self._report(f"{type(error).__name__}: {error}")
        return messages


def _by_partition(messages: Sequence[Message], partitions: int) -> Mapping[int, list[Message]]:
    groups: dict[int, list[Message]] = defaultdict(list)
    for message in messages:
        groups[partition_for(message[0], partitions)].append(message)
    return groups


def _batches(
    partition: int, messages: Sequence[Message], headers: RecordHeaders
) -> Iterator[_Batch]:
    """Yield batches with the messages of a partition, halved until each is small enough."""
    data = record_batch(messages, headers, time.time_ns() // 1_000_000)
    if len(data) <= BATCH_BYTES or len(messages) == 1:
        yield _Batch(partition, messages, data)
        return
    middle = len(messages) // 2
    for half in messages[:middle], messages[middle:]:
        yield from _batches(partition, half, headers)


def _error(code: int | None) -> KafkaError | None:
    """Return what an answer's code stands for; a batch without an answer is not taken."""
    error: KafkaError = UnknownError("no answer") if code is None else for_code(code)()
    return None if isinstance(error, NoError) else error
