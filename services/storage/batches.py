"""What goes into one transaction: where it comes from, its readings, its refusals, its counts."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.messages import Reading, Refusal
from schemas.outcomes import MessageOutcome, Outcome

QUARANTINE = "quarantine"
"""The source of what a replay from quarantine counts."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where a message came from. ``source`` is what the ledger counts it under."""

    source: str
    topic: str
    generation: int
    partition: int
    offset: int
    received_at: datetime
    hour: datetime
    mqtt_topic: str
    payload: bytes
    oversize: str | None = None
    refused: str | None = None


@dataclass(slots=True)
class Copy:
    """One sound reading on its way into a table, and the message that brought it."""

    arrival: Arrival
    reading: Reading


@dataclass(slots=True)
class Refused:
    """A message (``reading`` is None) or one reading that goes to quarantine."""

    arrival: Arrival
    refusal: Refusal
    reading: Reading | None = None


Row = tuple[int, int]
"""A reading within a batch: the index of its message, and its position there."""


@dataclass(slots=True)
class Packed:
    """Sound readings of one kind with the same channels, side by side; lists of one length.

    Times are microseconds since 1970, ``values`` holds a column for each of ``channels``,
    ``intervals`` is None where no reading has one. ``rows`` tells where each reading comes from.
    """

    kind: str
    channels: tuple[str, ...]
    rows: list[Row]
    device_ids: list[bytes]
    parts: list[bytes]
    times_us: list[int]
    intervals: list[float] | None
    values: list[NDArray[np.float64]]

    def identities(self) -> list[tuple[bytes, bytes, int]]:
        """Return what makes each reading one row."""
        return list(zip(self.device_ids, self.parts, self.times_us, strict=True))

    def keep(self, wanted: Sequence[bool]) -> "Packed":
        """Return the readings that are marked."""

        def marked(items: Sequence[Any]) -> list[Any]:
            return list(compress(items, wanted))

        return Packed(
            self.kind, self.channels, marked(self.rows), marked(self.device_ids),
            marked(self.parts), marked(self.times_us),
            None if self.intervals is None else marked(self.intervals),
            [column[np.array(wanted, bool)] for column in self.values],
        )  # fmt: skip


@dataclass(slots=True)
class Messages:
    """Where the messages of a batch stand, by their index; lists of one length.

    ``books`` is the index of each message's (source, hour of receipt) among ``keys``. ``unpack``
    gives single readings as copies, in the order of ``rows``.
    """

    partitions: list[int]
    offsets: list[int]
    received_us: list[int]
    books: list[int]
    keys: list[tuple[str, datetime]]
    unpack: Callable[[Sequence[Row]], list[Copy]]


@dataclass(frozen=True, slots=True)
class Span:
    """The offsets of one partition that a batch covers, and the witness of its last record."""

    topic: str
    generation: int
    partition: int
    first_offset: int
    next_offset: int
    witness: bytes

    @property
    def source(self) -> str:
        """Name of this log in the ledger."""
        return source_name(self.topic, self.generation, self.partition)


@dataclass(slots=True)
class Tally:
    """What one batch adds to the books, by their keys."""

    messages: Counter[tuple[str, datetime, str, str]] = field(default_factory=Counter)
    readings: Counter[tuple[str, datetime, str, str, str]] = field(default_factory=Counter)
    stored: Counter[tuple[str, str, date]] = field(default_factory=Counter)
    quarantine: Counter[tuple[str, str]] = field(default_factory=Counter)
    hours: set[tuple[str, datetime]] = field(default_factory=set)
    qos0: Counter[str] = field(default_factory=Counter)

    def copy(self) -> "Tally":
        """Return the same counts, to go on with."""
        return Tally(
            self.messages.copy(), self.readings.copy(), self.stored.copy(),
            self.quarantine.copy(), set(self.hours), self.qos0.copy(),
        )  # fmt: skip

    def message(self, arrival: Arrival, outcome: MessageOutcome, reason: str = "") -> None:
        """Count a message."""
        self.messages[arrival.source, arrival.hour, outcome.value, reason] += 1

    def reading(self, arrival: Arrival, kind: str, outcome: Outcome, reason: str = "") -> None:
        """Count what became of a reading."""
        self.readings[arrival.source, arrival.hour, kind, outcome.value, reason] += 1

    def decoded(self, arrival: Arrival, kind: str, n: int = 1) -> None:
        """Count readings that decoding yielded, before any of them is written."""
        self.readings[arrival.source, arrival.hour, kind, "decoded", ""] += n


@dataclass(slots=True)
class Batch:
    """Everything one transaction stores. ``spans`` is empty where the source is no log."""

    spans: list[Span] = field(default_factory=list)
    copies: dict[str, list[Copy]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    packed: dict[str, list[Packed]] = field(default_factory=dict)
    messages: Messages | None = None

    def copy(self) -> "Batch":
        """Return a batch with counts of its own."""
        return replace(self, tally=self.tally.copy())


def source_name(topic: str, generation: int, partition: int) -> str:
    """Return the ledger's name of one log."""
    return f"{topic}/{generation}/{partition}"


def hour_of(moment: datetime) -> datetime:
    """Return the start of the UTC hour that holds a moment."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
