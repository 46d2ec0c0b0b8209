"""What becomes of a chunk that Kafka refuses, or does not answer: without servers."""

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    RecordListTooLargeError,
)
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.memory_records import MemoryRecords
from prometheus_client import CollectorRegistry

from services.common.kafka import partition_for
from services.common.metrics import GatewayMetrics
from services.common.retries import Backoff
from services.gateway import delivery
from services.gateway.delivery import KafkaDelivery
from services.gateway.messages import Chunk, flags_of

BROKERS = 2
Records = Sequence[SimpleNamespace]


class Kafka:
    """Brokers whose answer to each batch a test decides, read as a stock consumer would.

    An error that brokers have no code for is a request's that got no answer.
    """

    def __init__(self, judge: Callable[[Records], KafkaError | None], partitions: int = 4) -> None:
        self.judge = judge
        self.partitions = partitions
        self.log: list[tuple[int, SimpleNamespace]] = []
        self.requests: list[list[Records]] = []
        self.refreshed = 0
        self.cluster = self

    def partitions_for_topic(self, _topic: str) -> set[int] | None:
        return set(range(self.partitions)) or None

    def leader_for_partition(self, place: TopicPartition) -> int:
        return int(place.partition % BROKERS)

    def force_metadata_update(self) -> None:
        self.refreshed += 1

    async def send(self, broker: int, request: ProduceRequest) -> SimpleNamespace:
        sent = request.prepare({ProduceRequest.API_KEY: (3, 12)})
        assert sent.required_acks == -1
        ((topic, batches),) = sent.topics
        partitions = [partition for partition, _ in batches]
        assert len(set(partitions)) == len(partitions), "one batch of a partition a request"
        assert {partition % BROKERS for partition in partitions} == {broker}
        self.requests.append([])
        answers = [self._answer(partition, data) for partition, data in batches]
        return SimpleNamespace(topics=[(topic, answers[::-1])])

    def _answer(self, partition: int, data: bytes) -> tuple[int, int, int, int, int]:
        records = read(data)
        self.requests[-1].append(records)
        error = self.judge(records)
        if error is None:
            self.log += [(partition, record) for record in records]
            return partition, 0, 7, 1_000, 0
        if (code := getattr(error, "errno", None)) is None:
            raise error
        return partition, code, -1, -1, -1


def read(data: bytes) -> Records:
    """The records of a batch."""
    batches = MemoryRecords(data)
    batch = batches.next_batch()
    assert batch.validate_crc()
    assert not batches.has_next()
    return [
        SimpleNamespace(key=each.key, value=each.value, headers=dict(each.headers))
        for each in batch
    ]


def chunk_of(*payloads: bytes) -> Chunk:
    chunk = Chunk(generation=1, gateway_time_ms=1_700_000_000_000)
    for number, payload in enumerate(payloads):
        flags = flags_of(1, retain=False, duplicate=True)
        chunk.add([(b"t/%d" % (number % 7), payload, number.to_bytes(2), flags, None)])
    return chunk


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(Backoff):
        async def wait(self) -> None:
            await asyncio.sleep(0)

    monkeypatch.setattr(delivery, "Backoff", Impatient)


def deliver(kafka: Kafka, chunk: Chunk) -> list[str | None]:
    reports: list[str | None] = []
    deliverer = KafkaDelivery(
        kafka,  # type: ignore[arg-type,unused-ignore] # aiokafka has no types
        "telemetry.raw",
        "gateway-7",
        reports.append,
        GatewayMetrics(CollectorRegistry()),
    )
    asyncio.run(deliverer.deliver(chunk))
    return reports


def test_records_go_to_their_topics_partition_with_compact_headers() -> None:
    kafka = Kafka(lambda _records: None)
    deliver(kafka, chunk_of(b"a", b"", b"c"))
    assert sorted((record.key, record.value) for _, record in kafka.log) == [
        (b"t/0", b"a"),
        (b"t/1", b""),
        (b"t/2", b"c"),
    ]
    for partition, record in kafka.log:
        assert partition == partition_for(record.key, 4)
        assert record.headers == {
            "slot": b"gateway-7",
            "gateway_time": b"1700000000000",
            "qos": b"1",
            "retain": b"0",
            "dup": b"1",
        }


def test_each_broker_is_sent_one_request() -> None:
    kafka = Kafka(lambda _records: None)
    deliver(kafka, chunk_of(*[b"%d" % number for number in range(40)]))
    assert len(kafka.requests) == BROKERS


def test_what_is_more_than_a_batch_holds_goes_in_order_in_further_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "BATCH_BYTES", 1_000)
    kafka = Kafka(lambda _records: None, partitions=1)
    payloads = [b"%03d" % number * 40 for number in range(20)] + [b"large" * 300]
    deliver(kafka, chunk_of(*payloads))
    assert [record.value for _, record in kafka.log] == payloads
    assert len(kafka.requests) > 3
    assert [len(batches) for batches in kafka.requests] == [1] * len(kafka.requests)


@pytest.mark.parametrize("error", [KafkaConnectionError("away"), NotLeaderForPartitionError()])
def test_what_fails_is_built_again_until_kafka_takes_it(error: KafkaError) -> None:
    failures = iter([error] * 9)
    kafka = Kafka(lambda _records: next(failures, None))
    payloads = [b"%d" % number for number in range(40)]
    reports = deliver(kafka, chunk_of(*payloads))
    assert sorted(record.value for _, record in kafka.log) == sorted(payloads)
    assert str(reports[0]).startswith(type(error).__name__)
    assert reports[-1] is None
    assert kafka.refreshed, "where the leaders are is asked anew"


def test_a_connection_lost_just_now_is_no_reason_to_end() -> None:
    """uvloop raises RuntimeError for it, until aiokafka has noticed as well."""

    class Resetting(Kafka):
        async def send(self, broker: int, request: ProduceRequest) -> SimpleNamespace:
            if not self.refreshed:
                raise RuntimeError("the handler is closed")
            return await super().send(broker, request)

    kafka = Resetting(lambda _records: None)
    assert deliver(kafka, chunk_of(b"a"))[-1] is None
    assert [record.value for _, record in kafka.log] == [b"a"]


def test_a_topic_that_kafka_does_not_know_is_waited_for() -> None:
    class Late(Kafka):
        def force_metadata_update(self) -> None:
            self.partitions = 4

    kafka = Late(lambda _records: None, partitions=0)
    reports = deliver(kafka, chunk_of(b"a"))
    assert [record.value for _, record in kafka.log] == [b"a"]
    assert "telemetry.raw" in str(reports[0])


def test_a_batch_that_an_answer_leaves_out_is_sent_again() -> None:
    class Forgetful(Kafka):
        async def send(self, broker: int, request: ProduceRequest) -> SimpleNamespace:
            answer = await super().send(broker, request)
            if len(self.requests) == 1:
                answer.topics[0][1].pop()
            return answer

    kafka = Forgetful(lambda _records: None)
    payloads = [b"%d" % number for number in range(40)]
    deliver(kafka, chunk_of(*payloads))
    assert {record.value for _, record in kafka.log} == set(payloads)
    assert len(kafka.log) > len(payloads), "Kafka had them, but did not say so"


def test_a_record_that_is_refused_for_good_is_forwarded_empty_and_its_neighbours_whole() -> None:
    """P4: a bad message harms only itself."""

    def judge(records: Records) -> KafkaError | None:
        poisoned = any(record.value == b"poison" for record in records)
        return MessageSizeTooLargeError() if poisoned else None

    kafka = Kafka(judge, partitions=1)
    payloads = [b"poison" if number == 5 else b"%d" % number for number in range(12)]
    deliver(kafka, chunk_of(*payloads))
    expected = sorted(payload for payload in payloads if payload != b"poison")
    whole = [record for _, record in kafka.log if "refused" not in record.headers]
    assert sorted(record.value for record in whole) == expected
    (refused,) = [record for _, record in kafka.log if "refused" in record.headers]
    assert refused.value == b""
    assert b"MessageSizeTooLargeError" in refused.headers["refused"]


def test_kafka_that_refuses_even_the_empty_record_is_an_outage_not_a_bad_record() -> None:
    """P5 in spirit: nothing loses its payload for a Kafka that takes nothing."""
    refusals = iter([RecordListTooLargeError()] * 7)
    kafka = Kafka(lambda _records: next(refusals, None), partitions=1)
    deliver(kafka, chunk_of(b"a", b"b", b"c"))
    assert sorted(record.value for _, record in kafka.log) == [b"a", b"b", b"c"]


def test_added_partitions_are_used_by_the_next_attempt() -> None:
    def judge(_records: Records) -> KafkaError | None:
        kafka.partitions = 8
        return KafkaConnectionError("away") if len(kafka.requests) == 1 else None

    kafka = Kafka(judge, partitions=1)
    deliver(kafka, chunk_of(b"a"))
    assert [partition for partition, _ in kafka.log] == [partition_for(b"t/0", 8)]
