"""What becomes of a chunk that Kafka refuses, or does not answer: without servers."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from prometheus_client import CollectorRegistry

from services.common.kafka import partition_for
from services.common.metrics import GatewayMetrics
from services.common.retries import Backoff
from services.gateway import delivery
from services.gateway.delivery import KafkaDelivery
from services.gateway.messages import Chunk, Header, flags_of

CAPACITY = 3


class Batch:
    """A batch builder that holds three records."""

    def __init__(self) -> None:
        self.records: list[SimpleNamespace] = []
        self.sent = False

    def append(self, *, timestamp: int, key: bytes, value: bytes, headers: list[Header]) -> object:
        if len(self.records) == CAPACITY:
            return None
        self.records.append(
            SimpleNamespace(timestamp=timestamp, key=key, value=value, headers=dict(headers))
        )
        return self


class Producer:
    """A Kafka whose answer to each batch a test decides."""

    def __init__(self, judge: Callable[[Batch], KafkaError | None], partitions: int = 4) -> None:
        self.judge = judge
        self.partitions = partitions
        self.log: list[tuple[int, SimpleNamespace]] = []
        self.attempts = 0

    async def partitions_for(self, _topic: str) -> set[int]:
        return set(range(self.partitions))

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(
        self, batch: Batch, _topic: str, *, partition: int
    ) -> asyncio.Future[SimpleNamespace]:
        assert batch.records
        assert not batch.sent, "a batch that was sent can't be sent again"
        batch.sent = True
        self.attempts += 1
        answer = asyncio.get_running_loop().create_future()
        if error := self.judge(batch):
            answer.set_exception(error)
        else:
            self.log += [(partition, record) for record in batch.records]
            answer.set_result(SimpleNamespace(timestamp=1_000, timestamp_type=1))
        return answer


def chunk_of(*payloads: bytes) -> Chunk:
    chunk = Chunk(generation=1, gateway_time_ms=1_700_000_000_000)
    for number, payload in enumerate(payloads):
        flags = flags_of(1, retain=False, duplicate=True)
        chunk.add([(b"t/%d" % (number % 7), payload, number, flags, None)])
    return chunk


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(Backoff):
        async def wait(self) -> None:
            await asyncio.sleep(0)

    monkeypatch.setattr(delivery, "Backoff", Impatient)


def deliver(producer: Producer, chunk: Chunk) -> list[str | None]:
    reports: list[str | None] = []
    deliverer = KafkaDelivery(
        producer,  # type: ignore[arg-type,unused-ignore] # aiokafka has no types
        "telemetry.raw",
        "gateway-7",
        reports.append,
        GatewayMetrics(CollectorRegistry()),
    )
    asyncio.run(deliverer.deliver(chunk))
    return reports


def test_records_go_to_their_topics_partition_with_compact_headers() -> None:
    producer = Producer(lambda _batch: None)
    deliver(producer, chunk_of(b"a", b"", b"c"))
    assert sorted((record.key, record.value) for _, record in producer.log) == [
        (b"t/0", b"a"),
        (b"t/1", b""),
        (b"t/2", b"c"),
    ]
    for partition, record in producer.log:
        assert partition == partition_for(record.key, 4)
        assert record.headers == {
            "slot": b"gateway-7",
            "gateway_time": b"1700000000000",
            "qos": b"1",
            "retain": b"0",
            "dup": b"1",
        }


def test_what_fails_is_built_again_until_kafka_takes_it() -> None:
    failures = iter([KafkaConnectionError("away")] * 9)
    producer = Producer(lambda _batch: next(failures, None))
    payloads = [b"%d" % number for number in range(40)]
    reports = deliver(producer, chunk_of(*payloads))
    assert sorted(record.value for _, record in producer.log) == sorted(payloads)
    assert reports[0] == "KafkaConnectionError: KafkaConnectionError: away"
    assert reports[-1] is None


def test_a_record_that_is_refused_for_good_is_forwarded_empty_and_its_neighbours_whole() -> None:
    """P4: a bad message harms only itself."""

    def judge(batch: Batch) -> KafkaError | None:
        poisoned = any(record.value == b"poison" for record in batch.records)
        return MessageSizeTooLargeError() if poisoned else None

    producer = Producer(judge, partitions=1)
    payloads = [b"poison" if number == 5 else b"%d" % number for number in range(12)]
    deliver(producer, chunk_of(*payloads))
    expected = sorted(payload for payload in payloads if payload != b"poison")
    whole = [record for _, record in producer.log if "refused" not in record.headers]
    assert sorted(record.value for record in whole) == expected
    (refused,) = [record for _, record in producer.log if "refused" in record.headers]
    assert refused.value == b""
    assert b"MessageSizeTooLargeError" in refused.headers["refused"]


def test_kafka_that_refuses_even_the_empty_record_is_an_outage_not_a_bad_record() -> None:
    """P5 in spirit: nothing loses its payload for a Kafka that takes nothing."""
    refusals = iter([RecordListTooLargeError()] * 12)
    producer = Producer(lambda _batch: next(refusals, None), partitions=1)
    deliver(producer, chunk_of(b"a", b"b", b"c"))
    assert sorted(record.value for _, record in producer.log) == [b"a", b"b", b"c"]


def test_added_partitions_are_used_by_the_next_attempt() -> None:
    def judge(_batch: Batch) -> KafkaError | None:
        producer.partitions = 8
        return KafkaConnectionError("away") if producer.attempts == 1 else None

    producer = Producer(judge, partitions=1)
    deliver(producer, chunk_of(b"a"))
    assert [partition for partition, _ in producer.log] == [partition_for(b"t/0", 8)]


def test_a_producer_that_crashed_for_good_is_not_retried() -> None:
    producer = Producer(lambda _batch: KafkaError("Unexpected error during batch delivery"))
    with pytest.raises(KafkaError, match="Unexpected error"):
        deliver(producer, chunk_of(b"a"))
