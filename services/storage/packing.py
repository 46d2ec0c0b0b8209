"""Columns of readings as PostgreSQL's binary COPY wants them, without a Python object a row.

The format is PostgreSQL's documentation of COPY, "Binary Format": a header, then for each row the
number of fields and for each field its length and its bytes, big-endian; -1 for null; -1 as the
number of fields ends it. Rows of one length are one numpy array.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01 UTC, from where PostgreSQL counts, in microseconds since 1970."""
BLOCK_ROWS = 4096
TIME_SOURCE = b"device"

COLUMNS = (
    "device_id", "part", "time", "received_at", "time_source", "kafka_partition", "kafka_offset",
    "batch_id", "interval_s",
)  # fmt: skip
"""The columns of every row, before its channels."""


@dataclass(frozen=True, slots=True)
class Block:
    """Readings whose device ids and parts are each of one length; lists of one length.

    Times are microseconds since 1970. ``channels`` are the names of ``values``'s columns.
    """

    device_ids: Sequence[bytes]
    parts: Sequence[bytes]
    times_us: Sequence[int]
    received_us: Sequence[int]
    partitions: Sequence[int]
    offsets: Sequence[int]
    intervals: Sequence[float] | None
    channels: tuple[str, ...]
    values: Sequence[NDArray[np.float64]]


def copy_stream(blocks: Sequence[Block], channels: Sequence[str], batch_id: int) -> Iterator[bytes]:
    """Yield a binary COPY of ``COLUMNS`` and ``channels``; a row lacks what its block lacks."""
    yield HEADER
    for block in blocks:
        rows = _pack(block, channels, batch_id)
        for start in range(0, len(rows), BLOCK_ROWS):
            yield rows[start : start + BLOCK_ROWS].tobytes()
    yield TRAILER


def _pack(block: Block, channels: Sequence[str], batch_id: int) -> NDArray[Any]:
    id_length, part_length = len(block.device_ids[0]), len(block.parts[0])
    rows = np.empty(len(block.times_us), _layout(id_length, part_length, block, channels))
    rows["fields"] = len(COLUMNS) + len(channels)
    if id_length:
        _fill(rows, "device_id", np.array(block.device_ids, f"S{id_length}"), id_length)
    _fill(
        rows, "part", np.array(block.parts, f"S{part_length}") if part_length else None, part_length
    )
    _fill(rows, "time", np.array(block.times_us, np.int64) - POSTGRES_EPOCH_US, 8)
    _fill(rows, "received_at", np.array(block.received_us, np.int64) - POSTGRES_EPOCH_US, 8)
    _fill(rows, "time_source", TIME_SOURCE, len(TIME_SOURCE))
    _fill(rows, "kafka_partition", block.partitions, 4)
    _fill(rows, "kafka_offset", block.offsets, 8)
    _fill(rows, "batch_id", batch_id, 8)
    _fill(rows, "interval_s", block.intervals, 8)
    given = dict(zip(block.channels, block.values, strict=True))
    for channel in channels:
        _fill(rows, channel, given.get(channel), 8)
    return rows


def _fill(rows: NDArray[Any], name: str, values: Any, length: int) -> None:  # noqa: ANN401 # as numpy
    """Fill a field: its length and its values; null where there are none."""
    rows[f"{name} length"] = length if values is not None or length == 0 else -1
    if values is not None:
        rows[name] = values


def _layout(
    id_length: int, part_length: int, block: Block, channels: Sequence[str]
) -> np.dtype[Any]:
    """Return the bytes of a row; a field that is null, or of no length, has only its length."""
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    kinds = {
        "device_id": f"S{id_length}", "part": f"S{part_length}" if part_length else None,
        "time": ">i8", "received_at": ">i8", "time_source": f"S{len(TIME_SOURCE)}",
        "kafka_partition": ">i4", "kafka_offset": ">i8", "batch_id": ">i8",
        "interval_s": None if block.intervals is None else ">f8",
    }  # fmt: skip
    kinds |= {name: ">f8" if name in block.channels else None for name in channels}
    for name, kind in kinds.items():
        fields.append((f"{name} length", ">i4"))
        if kind is not None:
            fields.append((name, kind))
    return np.dtype(fields)
