"""Kafka's records as columns: what a fetch brought of a partition, unpacked together.

aiokafka makes an object of each record and of each of its headers: 3.5 µs a message, a quarter of
what ingest spends on one. Here only the lengths are walked one after the other; keys, values and
header blocks are found for all records at once, and headers stay bytes, which are alike for
hundreds of neighbours. The format is Kafka's documentation, "Message Format", version 2, the only
one that Kafka 4 keeps. The library offers no setting for it, so its classes are replaced by ours;
a test reads through both and compares.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record._crecords.cutil import crc32c_cython
from numpy.typing import NDArray

_BATCH = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, CRC, attributes, last offset delta, first and maximal
timestamp, producer's id, epoch and sequence, number of records."""
_LENGTH_AT, _CRC_FROM = 12, 21
_MAGIC = 2
_CODEC, _APPEND_TIME, _CONTROL = 0b111, 0b1000, 0b100000
_DECOMPRESS = {
    1: codec.gzip_decode, 2: codec.snappy_decode, 3: codec.lz4_decode, 4: codec.zstd_decode,
}  # fmt: skip

Headers = tuple[tuple[str, bytes], ...]


class Record(NamedTuple):
    """One record; ``timestamp`` is Kafka's append time in epoch milliseconds."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True)
class Records:
    """Records of one partition, side by side, in the order of offsets; lists of one length.

    ``headers`` are as they travel: ``headers_of`` reads them.
    """

    offsets: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)

    def record(self, index: int) -> Record:
        """Return one record."""
        return Record(
            self.offsets[index], self.timestamps[index], self.keys[index], self.values[index],
            headers_of(self.headers[index]),
        )  # fmt: skip

    def part(self, start: int, stop: int) -> "Records":
        """Return the records from an index to another."""
        return Records(*(column[start:stop] for column in self._columns()))

    def payload_bytes(self) -> int:
        """Return how many bytes the values take."""
        return sum([len(value or b"") for value in self.values])

    def extend(self, others: "Records") -> None:
        """Append records."""
        for mine, theirs in zip(self._columns(), others._columns(), strict=True):  # noqa: SLF001 # ours
            mine.extend(theirs)

    def _columns(self) -> tuple[list[Any], ...]:
        return self.offsets, self.timestamps, self.keys, self.values, self.headers


@lru_cache(maxsize=1024)
def headers_of(block: bytes) -> Headers:
    """Return the headers of a record. Neighbours have the same, so they are remembered."""
    at = 0

    def number() -> int:
        nonlocal at
        value, at = _varint(block, at)
        return value

    def piece(length: int) -> bytes:
        nonlocal at
        at += max(length, 0)
        return block[at - max(length, 0) : at]

    return tuple((piece(number()).decode(), piece(number())) for _ in range(number()))


def unpack(data: bytes, first_offset: int) -> Records:
    """Return the records of whole batches, from an offset on.

    Raises:
        CorruptRecordException: a batch whose checksum is wrong, or of a former format.
    """
    found = Records()
    for batch in _batches(data):
        found.extend(batch)
    if found.offsets and found.offsets[0] < first_offset:
        # A batch comes whole, though its middle was asked for.
        before = sum(offset < first_offset for offset in found.offsets)
        return found.part(before, len(found))
    return found


def whole_batches(data: bytes) -> int:
    """Return how many bytes the complete batches take: a fetch may end in the middle of one."""
    end = 0
    while end + _BATCH.size <= len(data):
        following = end + _LENGTH_AT + int.from_bytes(data[end + 8 : end + 12], "big")
        if following > len(data):
            break
        end = following
    return end


def _batches(data: bytes) -> Iterator[Records]:
    """Yield records, those of all uncompressed neighbours together: each pass has its price."""
    at, plain, view = 0, _Plain(data), memoryview(data)
    while at < len(data):
        (
            base, length, _, magic, crc, attributes, _, first_ms, max_ms, _, _, _, n,
        ) = _BATCH.unpack_from(data, at)  # fmt: skip
        end = at + _LENGTH_AT + length
        if magic != _MAGIC or crc32c_cython(view[at + _CRC_FROM : end]) != crc:
            raise CorruptRecordException(f"batch at offset {base}: wrong checksum or format")
        if attributes & _CONTROL:
            at = end
            continue
        append_ms = max_ms if attributes & _APPEND_TIME else None
        if attributes & _CODEC:
            yield plain.read()
            opened = _Plain(_decompressed(data[at + _BATCH.size : end], attributes & _CODEC))
            opened.add(0, n, base, first_ms, append_ms)
            yield opened.read()
            plain = _Plain(data)
        else:
            plain.add(at + _BATCH.size, n, base, first_ms, append_ms)
        at = end
    yield plain.read()


def _decompressed(data: bytes, kind: int) -> bytes:
    if kind not in _DECOMPRESS:
        raise UnsupportedCodecError(f"codec {kind}")
    opened: bytes = _DECOMPRESS[kind](data)
    return opened


class _Plain:
    """Uncompressed records somewhere in some bytes: walked as they are added, then read at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._sizes: list[int] = []
        self._bases: list[int] = []
        self._times: list[int] = []
        self._created: list[bool] = []

    def add(self, at: int, n: int, base: int, first_ms: int, append_ms: int | None) -> None:
        """Walk the ``n`` records from a place on; their offsets are relative to ``base``."""
        data, starts, ends = self._data, self._starts, self._ends
        for _ in range(n):
            low = data[at]
            if low < 0x80:  # noqa: PLR2004 # the bit that says that another byte follows
                length, at = low >> 1, at + 1
            elif (high := data[at + 1]) < 0x80:  # noqa: PLR2004 # likewise
                length, at = (low & 0x7F | high << 7) >> 1, at + 2
            else:
                length, at = _varint(data, at)
            starts.append(at)
            at += length
            ends.append(at)
        self._sizes.append(n)
        self._bases.append(base)
        self._times.append(first_ms if append_ms is None else append_ms)
        self._created.append(append_ms is None)

    def read(self) -> Records:
        """Return all records that were added."""
        if not self._starts:
            return Records()
        data = self._data
        octets = np.frombuffer(data, np.uint8)
        after_attributes = np.array(self._starts, np.int64) + 1
        time_deltas, at = _varints(octets, after_attributes)
        offset_deltas, at = _varints(octets, at)
        offsets = np.repeat(self._bases, self._sizes) + offset_deltas
        times = np.repeat(self._times, self._sizes)
        if any(self._created):
            times += time_deltas * np.repeat(self._created, self._sizes)
        key_sizes, key_at = _varints(octets, at)
        key_end = key_at + np.maximum(key_sizes, 0)
        value_sizes, value_at = _varints(octets, key_end)
        value_end = value_at + np.maximum(value_sizes, 0)
        ends = value_end.tolist()
        return Records(
            offsets.tolist(),
            times.tolist(),
            _pieces(data, key_at, key_end.tolist(), key_sizes),
            _pieces(data, value_at, ends, value_sizes),
            [data[start:end] for start, end in zip(ends, self._ends, strict=True)],
        )


def _pieces(
    data: bytes, starts: NDArray[np.int64], ends: Sequence[int], sizes: NDArray[np.int64]
) -> list[bytes | None]:
    """Cut pieces out; None where the size says that there is none."""
    pieces: list[bytes | None] = [
        data[start:end] for start, end in zip(starts.tolist(), ends, strict=True)
    ]
    if sizes.min() < 0:
        for i in np.flatnonzero(sizes < 0).tolist():
            pieces[i] = None
    return pieces


def _varints(
    octets: NDArray[np.uint8], at: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the zigzag numbers at some places, and where each one ends."""
    octet = octets[at].astype(np.int64)
    value, following, shift = octet & 0x7F, at + 1, 7
    longer = np.flatnonzero(octet > 0x7F)  # noqa: PLR2004 # the bit that says "more"
    while len(longer):
        octet = octets[following[longer]].astype(np.int64)
        value[longer] |= (octet & 0x7F) << shift
        following[longer] += 1
        longer = longer[octet > 0x7F]  # noqa: PLR2004 # likewise
        shift += 7
    return value >> 1 ^ -(value & 1), following


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        octet = data[at]
        value |= (octet & 0x7F) << shift
        at += 1
        shift += 7
        if octet < 0x80:  # noqa: PLR2004 # likewise
            return value >> 1 ^ -(value & 1), at


class _Fetched:
    """Stands for aiokafka's ``MemoryRecords``: the bytes of a fetch, not yet looked at."""

    def __init__(self, data: bytes) -> None:
        self._size = len(data)
        self.data = bytes(data[: whole_batches(data)])

    def has_next(self) -> bool:
        """Whether there is a complete batch."""
        return bool(self.data)

    def size_in_bytes(self) -> int:
        """Return the bytes of all, a batch that was cut off included."""
        return self._size


class _PartitionRecords:
    """Stands for aiokafka's ``PartitionRecords``: unpacked when first asked for."""

    def __init__(
        self,
        _place: object,
        fetched: _Fetched,
        _aborted: object,
        fetch_offset: int,
        *_others: object,
    ) -> None:
        self._data = fetched.data
        self._records: Records | None = None
        self._taken = 0
        self._after = fetch_offset
        self.next_fetch_offset = fetch_offset

    def take(self, most: int | None) -> tuple[Records, bool]:
        """Return the next records, and whether there are more."""
        if self._records is None:
            self._records = unpack(self._data, self.next_fetch_offset)
            self._after = max(self.next_fetch_offset, _end_of(self._data))
            self._data = b""
        records, start = self._records, self._taken
        stop = len(records) if most is None else min(len(records), start + most)
        self._taken = stop
        done = stop == len(records)
        self.next_fetch_offset = self._after if done else records.offsets[stop - 1] + 1
        return (records if start == 0 and done else records.part(start, stop)), not done


class _FetchResult(fetcher.FetchResult):  # type: ignore[misc] # aiokafka ships no types
    """Gives columns where the library gives a list of records."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> Records:
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return Records()
        unpacked: _PartitionRecords = self._partition_records
        records, more = unpacked.take(max_records)
        self._update_position()
        if not more:
            self._partition_records = None
        return records


def _end_of(data: bytes) -> int:
    """Return the offset that follows the last batch, whatever was taken out of it."""
    at = end = 0
    while at < len(data):
        base, length = struct.unpack_from(">qi", data, at)
        end = base + 1 + int.from_bytes(data[at + 23 : at + 27], "big")
        at += _LENGTH_AT + length
    return end


def fetch_columns() -> None:
    """Let ``getmany`` of all consumers of this process give ``Records``; called before they start.

    ``getone`` and iterating over a consumer work no longer then.
    """
    fetcher.MemoryRecords = _Fetched
    fetcher.PartitionRecords = _PartitionRecords
    fetcher.FetchResult = _FetchResult
