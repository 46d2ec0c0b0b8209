"""Kafka records as the library's C code gives them, without a Python object of eleven fields each.

aiokafka copies every record into a ``ConsumerRecord``: 1 to 2 µs a message, a third of what ingest
spends on one. What ingest reads of it (offset, timestamp, key, value, headers) the record of the C
code has too. The library offers no setting for it, so its class is replaced by one that leaves the
copy out; a test reads through both and compares.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher


class Record(Protocol):
    """What ingest reads of a record; ``timestamp`` is Kafka's append time in epoch milliseconds."""

    @property
    def offset(self) -> int: ...  # noqa: D102 # a field
    @property
    def timestamp(self) -> int: ...  # noqa: D102 # a field
    @property
    def key(self) -> bytes | None: ...  # noqa: D102 # a field
    @property
    def value(self) -> bytes | None: ...  # noqa: D102 # a field
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...  # noqa: D102 # a field


class LeanRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka ships no types
    """Records of one partition, as they come out of the C code."""

    def _consumer_record(self, _place: TopicPartition, record: Any) -> Any:  # noqa: ANN401 # C code's
        return record


def make_records_lean() -> None:
    """Let all consumers of this process give ``Record``; called once, before one is started."""
    fetcher.PartitionRecords = LeanRecords
