"""What ingest reads of a record is the same with and without aiokafka's copy of it."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher

from services.common import kafka as clients
from services.ingest.lean_records import LeanRecords
from tests.support.pipeline import Pipeline

Said = tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes]]]

SENT: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
    (b"a", b"1", []),
    (None, b"no key", [("qos", b"1"), ("slot", "đ".encode())]),
    (b"", None, [("empty", b"")]),
    (b"b" * 300, bytes(range(256)) * 40, []),
]


async def send(city: Pipeline) -> None:
    producer = clients.producer(city.settings, "test")
    await producer.start()
    for key, value, headers in SENT:
        await producer.send_and_wait(
            city.settings.raw_topic, value, key=key, headers=headers, partition=0
        )
    await producer.stop()


async def read(city: Pipeline) -> list[Said]:
    place = TopicPartition(city.settings.raw_topic, 0)
    consumer = clients.consumer(city.settings, "test", group=None)
    consumer.assign([place])
    await consumer.start()
    consumer.seek(place, 0)
    found: list[Any] = []
    while len(found) < len(SENT):
        found += (await consumer.getmany(timeout_ms=1000)).get(place, [])
    await consumer.stop()
    return [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in found]


async def test_a_lean_record_says_what_the_copy_says(
    city: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(city)
    copied = await read(city)

    monkeypatch.setattr(fetcher, "PartitionRecords", LeanRecords)

    assert await read(city) == copied
    assert [said[2:] for said in copied] == SENT
