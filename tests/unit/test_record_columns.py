"""Kafka's batches as columns, against the library's own builder and reader."""

from typing import Any

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.record_columns import Record, unpack, whole_batches
from tests.support.intake import header_block

GZIP = 1
CODEC_AT, BASE, CRC_AT = 21, 8, 17
START_MS = 1_764_000_000_000

maybe_bytes = st.none() | st.binary(max_size=300)
headers = st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=200)), max_size=6)
sent = st.tuples(
    maybe_bytes, maybe_bytes, headers, st.integers(-(2**40), 2**40) | st.integers(-3, 3)
)
batches = st.lists(
    st.tuples(st.lists(sent, min_size=1, max_size=5), st.sampled_from([0, GZIP])),
    min_size=1, max_size=6,
)  # fmt: skip

Sent = tuple[bytes | None, bytes | None, list[tuple[str, bytes]], int]


def build(records: list[Sent], base: int, codec: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=10_000_000,
    )  # fmt: skip
    for n, (key, value, of_record, later_ms) in enumerate(records):
        taken = builder.append(
            n, timestamp=START_MS + later_ms, key=key, value=value, headers=of_record
        )
        assert taken is not None
    built = bytes(builder.build())
    return base.to_bytes(BASE, "big") + built[BASE:]


def as_the_library_reads(data: bytes) -> list[Record]:
    found: list[Record] = []
    memory = MemoryRecords(data)
    while memory.has_next():
        batch: Any = memory.next_batch()
        assert isinstance(batch, DefaultRecordBatch)
        assert batch.validate_crc()
        found += [
            Record(each.offset, each.timestamp, each.key, each.value, tuple(each.headers))
            for each in batch
        ]
    return found


@given(batches, st.integers(0, 40), st.integers(0, 30))
def test_columns_hold_what_the_library_reads(
    sent_batches: list[tuple[list[Sent], int]], first: int, cut: int
) -> None:
    data, offset = b"", 7
    for records, codec in sent_batches:
        data += build(records, offset, codec)
        offset += len(records) + 3  # a hole, as compaction leaves it
    expected = [each for each in as_the_library_reads(data) if each.offset >= first]
    torn = data + data[: min(cut, len(data) - 1)]

    found = unpack(torn[: whole_batches(torn)], first)

    assert [found.record(i) for i in range(len(found))] == expected


def test_a_flipped_bit_is_told() -> None:
    data = bytearray(build([(b"key", b"value", [], 0)], 0))
    data[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="offset 0"):
        unpack(bytes(data), 0)


def test_a_former_format_is_told() -> None:
    data = bytearray(build([(b"key", b"value", [], 0)], 0))
    data[16] = 1
    with pytest.raises(CorruptRecordException, match="offset 0"):
        unpack(bytes(data), 0)


@given(headers)
def test_header_blocks_of_tests_are_those_of_kafka(of_record: list[tuple[str, bytes]]) -> None:
    found = unpack(build([(b"k", b"v", of_record, 0)], 0), 0)
    assert found.headers == [header_block(of_record)]
