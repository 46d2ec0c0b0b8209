"""Recorded tables: rows of separated text with file and line, and the fields within them."""

import csv
import heapq
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Protocol, TypeVar

MISSING_MARKS = frozenset({"", "na", "nan", "null", "none", "unknown", "unavailable"})
"""What recorded files write where nothing was measured, in lower case."""

_STAMP_LENGTH = len("2018-10-22T00:01:36")
# Decimal alone would take 1_000 and Infinity, too.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Dated(Protocol):
    """Anything that has a time."""

    @property
    def time(self) -> datetime: ...  # noqa: D102 # the class says it


DatedT = TypeVar("DatedT", bound=Dated)


@dataclass(frozen=True, slots=True)
class Columns:
    """What a format's header must hold, and how its fields are separated.

    ``quoted`` says whether a field may stand in double quotes; where the maker never quotes, a
    stray quote must not swallow the lines after it.
    """

    format_name: str
    required: tuple[str, ...]
    delimiter: str = ","
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file: its fields by column, or too many or too few of them."""

    path: Path
    line: int
    header: tuple[str, ...]
    fields: tuple[str, ...]

    def named(self) -> dict[str, str]:
        """Return the fields by column.

        Raises:
            BadRowError: the row is shorter or longer than its header; where it was cut, its last
                value may be torn, so nothing of it is taken.
        """
        if len(self.fields) != len(self.header):
            reason = "short row" if len(self.fields) < len(self.header) else "long row"
            raise BadRowError(reason, f"{len(self.fields)} fields, not {len(self.header)}")
        return dict(zip(self.header, self.fields, strict=True))


class WrongFormatError(ValueError):
    """A file that is not of the format; names the columns that were expected and found."""


class BadRowError(ValueError):
    """A row that is no reading: why in two words to count by, and in a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def files_in(paths: Sequence[Path], pattern: str = "*.csv") -> list[Path]:
    """Return files as given, and of each folder the files that match, sorted by name."""
    return list(
        chain.from_iterable(
            sorted(path.glob(pattern)) if path.is_dir() else [path] for path in paths
        )
    )


def header(path: Path, columns: Columns) -> tuple[str, ...]:
    """Return a file's first line as column names, without judging them."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return _header(_reader(file, columns))


def rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Read a file line by line; blank lines are nothing.

    Raises:
        WrongFormatError: the header lacks a column of the format, or the text is no table.
    """
    # A broken character must cost its own row only, so it is replaced here and refused there.
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = _reader(file, columns)
        names = _header(reader)
        _require(path, columns, names)
        try:
            for fields in reader:
                if fields:
                    yield Row(path, reader.line_num, names, tuple(fields))
        except csv.Error as error:
            raise WrongFormatError(f"{path}:{reader.line_num}: no table ({error})") from error


class _Reader(Protocol):
    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


def _reader(lines: Iterator[str], columns: Columns) -> _Reader:
    if columns.quoted:
        return csv.reader(lines, delimiter=columns.delimiter)
    return csv.reader(lines, delimiter=columns.delimiter, quoting=csv.QUOTE_NONE)


def _header(reader: _Reader) -> tuple[str, ...]:
    try:
        return tuple(name.strip() for name in next(reader, []))
    except csv.Error:  # binary: no name of it will be one that a format requires
        return ()


def _require(path: Path, columns: Columns, names: tuple[str, ...]) -> None:
    lacking = [name for name in columns.required if name not in names]
    if lacking:
        raise WrongFormatError(
            f"{path} is no {columns.format_name} file: its first line must name the columns "
            f"{columns.delimiter.join(columns.required)}; {', '.join(lacking)} not found in "
            f"{columns.delimiter.join(names)[:200]!r}"
        )


def stamp(text: str, zone: tzinfo = UTC) -> datetime:
    """Return a date and time in UTC; without a zone of its own it is in ``zone``.

    Raises:
        BadRowError: it is no date with a time of day down to the second.
    """
    try:
        if len(text) < _STAMP_LENGTH:
            raise ValueError  # noqa: TRY301 # a date alone parses, and would pass for midnight
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRowError("bad time", f"{text!r} is no date and time") from None


def number(column: str, text: str) -> Decimal | None:
    """Return a finite number exactly as written, None for a missing mark.

    Raises:
        BadRowError: it is neither.
    """
    text = text.strip()
    if text.lower() in MISSING_MARKS:
        return None
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise BadRowError("bad value", f"{column} {text[:40]!r} is no number")
    return Decimal(text)


def coordinate(text: str) -> float | None:
    """Return a coordinate in degrees, None where there is none; 0 is what an unset one says."""
    try:
        degrees = number("coordinate", text)
    except BadRowError:
        return None
    return float(degrees) if degrees else None


def measured(pairs: Iterable[tuple[str, Decimal | None]]) -> dict[str, Decimal]:
    """Return the channels that have a value."""
    return {name: value for name, value in pairs if value is not None}


def merged_by_time(
    starts: Sequence[tuple[datetime, Path]], read: Callable[[Path], Iterator[DatedT]]
) -> Iterator[DatedT]:
    """Merge files by time, opening each only when its first stamp is due.

    ``starts`` are the files by their earliest stamp, sorted; a year of one file a day and sensor
    would not fit into the files that a process may hold open.
    """
    waiting = list(reversed(starts))
    running: list[tuple[datetime, int, DatedT, Iterator[DatedT]]] = []
    while waiting or running:
        while waiting and (not running or waiting[-1][0] <= running[0][0]):
            _push(running, len(waiting), read(waiting.pop()[1]))
        if running:
            _time, number_of_file, item, rest = heapq.heappop(running)
            yield item
            _push(running, number_of_file, rest)


def _push(
    running: list[tuple[datetime, int, DatedT, Iterator[DatedT]]],
    number_of_file: int,
    rest: Iterator[DatedT],
) -> None:
    """Put a file's next item among the running ones; a file that has ended drops out."""
    item = next(rest, None)
    if item is not None:
        heapq.heappush(running, (item.time, number_of_file, item, rest))
