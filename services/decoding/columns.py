"""Many native messages at once: what is plain comes out as columns, the rest is left to `decode`.

What almost every message is, an object (or an array of objects) of a registered device with a time
and numbers within their bounds, is parsed, checked and turned column by column, at a tenth of the
cost of one after the other. It is a short cut and no second truth: a reading that comes out here is
the one that `detect.decode` and `judging.judge` would give, and everything that they would refuse,
flag, or only read in another way is left to them. A property test holds it to that.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import compress, repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from schemas.channels import CHANNELS
from schemas.device_types import DeviceType, device_type, sentinels_of
from services.decoding.times import EPOCH, TimeError, parse_rfc3339

PARSED_TOGETHER = 256
"""Payloads of one parse: a torn one sends this many to be read one after the other."""
SHAPES_REMEMBERED = 512
"""Sets of field names that a lane keeps; who invents ever new ones is read one after the other."""
BEGINNING_US = -(2**52)
"""The year 1827: before it a float does not hold every microsecond, and `decode` reads it."""
_NO_TIME_US = BEGINNING_US - 1
LARGEST_INTEGER = 2**1023
"""Beyond it an integer may be none that a float holds."""

Row = tuple[int, int]
"""Index of the message, and position of the reading in it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One set of field names, in one order: where the time and each channel stand.

    ``channels`` says for each name its place, its plausible bounds, and the sentinels within them.
    """

    kind: str
    names: tuple[str, ...]
    time_at: int
    part_at: int | None
    interval_at: int | None
    channels: tuple[tuple[int, float, float, tuple[float, ...]], ...]


@dataclass(slots=True)
class Lane:
    """What devices of one kind and type have in common."""

    kind: str
    model: DeviceType
    shapes: dict[tuple[str, ...], Shape | None] = field(default_factory=dict)

    def shape(self, names: tuple[str, ...]) -> Shape | None:
        """Return the shape of an object's field names; None where it is not plain."""
        if names not in self.shapes:
            if len(self.shapes) >= SHAPES_REMEMBERED:
                return None
            self.shapes[names] = _shape(self.kind, self.model, names)
        return self.shapes[names]


class Route(NamedTuple):
    """Where the messages of one topic go: the device, its lane, and when its data begin."""

    device_id: str
    device_id_bytes: bytes
    lane: Lane
    data_from_us: int


@dataclass(slots=True)
class Columns:
    """Readings of one shape, side by side; all lists are of one length.

    ``times_us`` are microseconds since 1970 (UTC), ``values`` holds a column for each of
    ``channels``, ``parts`` and ``intervals`` are None where the messages say nothing of them.
    """

    kind: str
    channels: tuple[str, ...]
    rows: list[Row]
    routes: list[Route]
    times_us: list[int]
    parts: list[str] | None
    intervals: list[float] | None
    values: list[NDArray[np.float64]]

    def keep(self, wanted: Sequence[bool]) -> "Columns":
        """Return the readings whose mark is set."""
        return Columns(
            self.kind, self.channels, _marked(self.rows, wanted), _marked(self.routes, wanted),
            _marked(self.times_us, wanted),
            None if self.parts is None else _marked(self.parts, wanted),
            None if self.intervals is None else _marked(self.intervals, wanted),
            [column[np.array(wanted, bool)] for column in self.values],
        )  # fmt: skip


@dataclass(slots=True)
class _Group:
    """Objects of one shape before they are checked."""

    rows: list[Row] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    fields: list[Iterable[Any]] = field(default_factory=list)


def lane(kind: str, type_name: str) -> Lane:
    """Return a new lane; whoever routes keeps one for each kind and device type."""
    return Lane(kind, device_type(type_name))


def microseconds(time: datetime) -> int:
    """Return microseconds since 1970 of an aware time."""
    return (time - EPOCH) // timedelta(microseconds=1)


def read(
    payloads: Sequence[bytes],
    routes: Sequence[Route | None],
    received_us: Sequence[int],
    tolerance_us: int,
    first: int = 0,
) -> tuple[list[Columns], list[int]]:
    """Return what is plain, as columns, and the indexes of the messages that are not, in order.

    Indexes count from ``first``, so that messages may come in slices of a larger whole. A message
    is taken whole or not at all. ``routes`` is None for a message that must be read one after the
    other; ``received_us`` is each one's receipt, ``tolerance_us`` how far ahead of it a reading may
    be.
    """
    left: set[int] = set()
    groups: dict[int, tuple[Shape, _Group]] = {}
    for start in range(0, len(payloads), PARSED_TOGETHER):
        piece = routes[start : start + PARSED_TOGETHER]
        wanted = [start + i for i, route in enumerate(piece) if route is not None]
        if len(wanted) < len(piece):
            left.update(start + i for i, route in enumerate(piece) if route is None)
        contents = _parse([payloads[i] for i in wanted])
        if contents is None:
            left.update(wanted)
        elif left or not _take_alike(groups, wanted, contents, piece):
            left.update(_sort_into(groups, wanted, contents, routes))
    found = []
    for shape, group in groups.values():
        columns, refused = _check(shape, group, received_us, tolerance_us)
        left.update(refused)
        found += [] if columns is None else [columns]
    plain = list(_without(found, left))
    if first:
        for columns in plain:
            columns.rows = [(message + first, position) for message, position in columns.rows]
    return plain, [first + i for i in sorted(left)]


def _parse(payloads: Sequence[bytes]) -> list[Any] | None:
    """Parse payloads as one list; None where they are not each a JSON value of its own.

    A random token stands between them: counting the values is not enough, since ``{…},{…}`` beside
    a torn object would give healthy neighbours each other's values.
    """
    if not payloads:
        return []
    token = secrets.token_hex(8)
    joined = f',"{token}",'.encode().join(payloads)
    try:
        values: list[Any] = from_json(
            b"[" + joined + b"]", allow_inf_nan=True, cache_strings="keys"
        )
    except ValueError:
        return None
    separators = values[1::2]
    if len(values) != 2 * len(payloads) - 1 or separators.count(token) != len(separators):
        return None
    return values[::2]


def _take_alike(
    groups: dict[int, tuple[Shape, _Group]],
    indexes: Sequence[int],
    contents: Sequence[Any],
    routes: Sequence[Route | None],
) -> bool:
    """Put objects into their group together if all are of one shape; else touch nothing."""
    if set(map(type, contents)) != {dict} or routes[0] is None:
        return False
    names, of_lane = tuple(contents[0]), routes[0].lane
    if list(map(tuple, contents)).count(names) < len(contents):
        return False
    if [route and route.lane for route in routes].count(of_lane) < len(routes):
        return False
    shape = of_lane.shape(names)
    if shape is None:
        return False
    group = groups.setdefault(id(shape), (shape, _Group()))[1]
    group.rows += zip(indexes, repeat(0))
    group.routes += routes  # type: ignore[arg-type] # none of them is None
    group.fields += map(dict.values, contents)
    return True


def _sort_into(
    groups: dict[int, tuple[Shape, _Group]],
    indexes: Sequence[int],
    contents: Sequence[Any],
    routes: Sequence[Route | None],
) -> Iterator[int]:
    """Put objects into the group of their shape; yield the messages that have no such place."""
    names: tuple[str, ...] | None = None
    of_lane: Lane | None = None
    group = _Group()
    for index, content in zip(indexes, contents, strict=True):
        route = routes[index]
        objects = (content,) if type(content) is dict else content
        if route is None or not objects or type(objects) not in (tuple, list):
            yield index  # `[]` too: it decodes to no reading, which is counted there
            continue
        for position, item in enumerate(objects):
            if type(item) is not dict:
                yield index
                break
            # Neighbours are mostly alike: looking a shape up anew costs more than comparing.
            if tuple(item) != names or route.lane is not of_lane:
                names, of_lane = tuple(item), route.lane
                shape = of_lane.shape(names)
                if shape is None:
                    names = None
                    yield index
                    break
                group = groups.setdefault(id(shape), (shape, _Group()))[1]
            group.rows.append((index, position))
            group.routes.append(route)
            group.fields.append(item.values())


def _shape(kind: str, model: DeviceType, names: tuple[str, ...]) -> Shape | None:
    """Return the shape of field names; None for fields of any other use than the plain one."""
    known = CHANNELS[kind]
    place = {name: at for at, name in enumerate(names)}
    own = {"time", "part", "interval_s"}
    others = [name for name in names if name not in known and name not in own]
    if others or "time" not in place or model.stamp != "start" or model.interval_s is not None:
        return None
    channels = [name for name in names if name in known]
    return Shape(
        kind, tuple(channels), place["time"], place.get("part"), place.get("interval_s"),
        tuple(_rule(kind, model, name, place[name]) for name in channels),
    )  # fmt: skip


def _rule(
    kind: str, model: DeviceType, name: str, at: int
) -> tuple[int, float, float, tuple[float, ...]]:
    channel = CHANNELS[kind][name]
    low, high = model.plausible.get(name, channel.plausible)
    within = tuple(each for each in sentinels_of(channel, model) if low <= each <= high)
    return at, max(low, channel.physical[0]), min(high, channel.physical[1]), within


def _check(
    shape: Shape, group: _Group, received_us: Sequence[int], tolerance_us: int
) -> tuple[Columns | None, set[int]]:
    """Check a group column by column; return what is plain and the messages that are not."""
    fields = list(zip(*group.fields, strict=True))
    bad: set[int] = set()
    values: list[NDArray[np.float64]] = []
    for at, low, high, sentinels in shape.channels:
        column = _numbers(fields[at], bad)
        plain = (column >= low) & (column <= high) & np.isfinite(column)
        for sentinel in sentinels:
            plain &= column != sentinel
        if not plain.all():
            bad.update(np.flatnonzero(~plain).tolist())
        values.append(column)
    parts = _texts(fields, shape.part_at, bad)
    intervals = _lengths(fields, shape.interval_at, bad)
    times = _times_us(fields[shape.time_at])
    if not _are_timely(group.routes, times, min(received_us) + tolerance_us):
        for i, ((message, _), route, time) in enumerate(
            zip(group.rows, group.routes, times, strict=True)
        ):
            if not route.data_from_us <= time <= received_us[message] + tolerance_us:
                bad.add(i)
    refused = {group.rows[i][0] for i in bad}
    whole = Columns(
        shape.kind, shape.names, group.rows, group.routes, times, parts, intervals, values
    )
    if not bad:
        return whole, refused
    kept = whole.keep([row[0] not in refused for row in group.rows])
    return (kept if kept.rows else None), refused


def _numbers(column: Sequence[Any], bad: set[int]) -> NDArray[np.float64]:
    """Return a column as floats, NaN for what is no number or none that a float holds."""
    if {float, int}.issuperset(map(type, column)):
        try:
            return np.array(column, np.float64)
        except OverflowError:  # an integer beyond a float's range
            pass
    numbers = np.full(len(column), np.nan)
    for i, value in enumerate(column):
        if type(value) is float or (type(value) is int and abs(value) < LARGEST_INTEGER):
            numbers[i] = value
        else:
            bad.add(i)
    return numbers


def _are_timely(routes: Sequence[Route], times: Sequence[int], latest: int) -> bool:
    """Whether all times lie within the bounds that even the strictest of all set."""
    earliest = max([route.data_from_us for route in routes])
    return earliest <= min(times) and max(times) <= latest


def _texts(fields: Sequence[Sequence[Any]], at: int | None, bad: set[int]) -> list[str] | None:
    if at is None:
        return None
    bad.update(i for i, value in enumerate(fields[at]) if type(value) is not str)
    return list(fields[at])


def _lengths(fields: Sequence[Sequence[Any]], at: int | None, bad: set[int]) -> list[float] | None:
    if at is None:
        return None
    for i, value in enumerate(fields[at]):
        if type(value) not in (int, float) or not 0 <= value <= 1e9:  # noqa: PLR2004 -- 31 years
            bad.add(i)
    return list(fields[at])


def _times_us(column: Sequence[Any]) -> list[int]:
    if set(map(type, column)) == {int}:
        return [value * 1000 for value in column]
    return [_time_us(value) for value in column]


def _time_us(value: object) -> int:
    """Return microseconds since 1970; a time that is always too old for what is no plain one."""
    if type(value) is int:
        return value * 1000
    if type(value) is not str:
        return _NO_TIME_US
    try:
        return round(parse_rfc3339(value).timestamp() * 1e6)
    except TimeError:
        return _NO_TIME_US


def _without(found: Iterable[Columns], left: set[int]) -> Iterator[Columns]:
    """Take out the readings of messages that another group has refused."""
    for columns in found:
        if not left or left.isdisjoint(row[0] for row in columns.rows):
            yield columns
            continue
        kept = columns.keep([row[0] not in left for row in columns.rows])
        if kept.rows:
            yield kept


def _marked(items: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
    return list(compress(items, wanted))
