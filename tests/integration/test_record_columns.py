"""What ingest reads of a fetch is what aiokafka reads of it."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher

from services.common import kafka as clients
from services.ingest.record_columns import Records, fetch_columns
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


async def read(city: Pipeline, *, most: int | None = None, start: int = 0) -> list[Said]:
    place = TopicPartition(city.settings.raw_topic, 0)
    consumer = clients.consumer(city.settings, "test", group=None)
    consumer.assign([place])
    await consumer.start()
    consumer.seek(place, start)
    found: list[Said] = []
    while len(found) < len(SENT) - start:
        fetched = await consumer.getmany(timeout_ms=1000, max_records=most)
        assert most is None or sum(map(len, fetched.values())) <= most
        found += _said(fetched.get(place, []))
        assert await consumer.position(place) == start + len(found)
    await consumer.stop()
    return found


def _said(fetched: Records | list[Any]) -> list[Said]:
    if isinstance(fetched, Records):
        records: list[Any] = [fetched.record(i) for i in range(len(fetched))]
    else:
        records = fetched
    return [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in records]


async def test_columns_say_what_the_library_says(
    city: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(city)
    copied = await read(city)
    for name in ("MemoryRecords", "PartitionRecords", "FetchResult"):
        monkeypatch.setattr(fetcher, name, getattr(fetcher, name))  # put back afterwards

    fetch_columns()

    assert await read(city) == copied
    assert await read(city, most=1) == copied
    assert await read(city, start=2) == copied[2:]
    assert [said[2:] for said in copied] == SENT
