"""The short cut by columns says what decoding one after the other says, or leaves it to that."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from schemas.messages import Decoded, Message, Reading
from services.decoding import columns
from services.decoding.columns import Columns, Route, microseconds
from services.decoding.detect import decode
from services.decoding.judging import Device, judge

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BEGIN = NOW - timedelta(days=30)
TOLERANCE = timedelta(minutes=5)
KINDS = {"a": "environmental", "b": "traffic", "c": "environmental"}
TYPES = {"a": "generic", "b": "generic", "c": "sensor-community-station"}


def route(device_id: str) -> Route:
    lane = LANES[device_id]
    return Route(device_id, device_id.encode(), lane, microseconds(BEGIN))


LANES = {name: columns.lane(KINDS[name], TYPES[name]) for name in KINDS}

Said = tuple[Any, ...]
Sent = tuple[str, bytes]


def singly(message: Sent) -> list[Said] | None:
    """What the readable way makes of a message; None where a reading is refused or flagged."""
    device_id, payload = message
    topic = f"citytally/v1/{KINDS[device_id]}/{device_id}"
    result = decode(Message(topic, payload, NOW))
    if not isinstance(result, Decoded):
        return None
    device = Device(device_id, TYPES[device_id], BEGIN)
    return [said(judge(reading, device, NOW, TOLERANCE)) for reading in result.readings]


def said(reading: Reading) -> Said:
    assert reading.refusal is None, reading.refusal
    assert (reading.texts, reading.flags or {}, reading.extra or {}) == ({}, {}, {})
    assert reading.time is not None
    return (reading.kind, reading.device_id, reading.part, microseconds(reading.time),
            reading.interval_s, reading.values)  # fmt: skip


def by_columns(messages: Sequence[Sent]) -> tuple[dict[int, list[Said]], list[int]]:
    found, left = columns.read(
        [payload for _, payload in messages],
        [route(device_id) for device_id, _ in messages],
        [microseconds(NOW)] * len(messages),
        TOLERANCE // timedelta(microseconds=1),
    )
    readings: dict[int, dict[int, Said]] = {}
    for one in found:
        for at, (message, position) in enumerate(one.rows):
            readings.setdefault(message, {})[position] = row(one, at)
    return {i: [all_of[p] for p in range(len(all_of))] for i, all_of in readings.items()}, left


def row(one: Columns, at: int) -> Said:
    values = {name: column[at] for name, column in zip(one.channels, one.values, strict=True)}
    part = "" if one.parts is None else one.parts[at]
    interval_s = None if one.intervals is None else one.intervals[at]
    return one.kind, one.routes[at].device_id, part, one.times_us[at], interval_s, values


times = some.one_of(
    some.integers(microseconds(BEGIN) // 1000 - 9, microseconds(NOW) // 1000 + 400_000),
    some.datetimes(BEGIN.replace(tzinfo=None), NOW.replace(tzinfo=None)).map(
        lambda time: time.isoformat() + "Z"
    ),
    some.sampled_from(["2026-11-20T07:00:00+07:00", "2026-11-20 00:00:00.1234567Z", 0, "x", None,
                       "2026-11-20T00:00:00", 1.5, True, 10**30, "2016-12-31T23:59:60Z"]),
)  # fmt: skip
numbers: some.SearchStrategy[Any] = some.one_of(
    some.floats(-20, 120), some.integers(-20, 120),
    some.sampled_from([None, True, "7", [], -999.0, 327.67, 65535, 10**400, -1, 1e308, -127.0]),
    some.floats(),
)  # fmt: skip
objects = some.fixed_dictionaries(
    {"time": times},
    optional={
        "pm2_5_ugm3": numbers, "temperature_c": numbers, "vehicles": numbers, "pm10_ugm3": numbers,
        "part": some.sampled_from(["", "1", "µ", None, 3]),
        "interval_s": some.sampled_from([60, 0.5, None, -1, "60", 1e12]),
        "device_id": some.sampled_from(["a", "b", None]), "note": some.text(max_size=3),
        "simulated": some.booleans(),
    },
)  # fmt: skip
texts = some.one_of(objects, some.lists(objects, max_size=4)).map(json.dumps).map(str.encode)
torn = some.sampled_from(
    [b"", b" ", b"{", b'{"time":1},{"time":2}', b'"', b"[]", b"[1]", b"7", b"\xff", b"null", b'{"a',
     b"],[", b'{"time":1,"time":1795435200000}', b'[{"time":1795435200000},3]']
)  # fmt: skip
sent = some.lists(
    some.tuples(some.sampled_from(sorted(KINDS)), some.one_of(texts, torn)), max_size=12
)


@settings(max_examples=300, deadline=None)
@given(sent)
def test_what_comes_as_columns_is_what_decoding_singly_gives(messages: list[Sent]) -> None:
    readings, left = by_columns(messages)

    assert sorted([*readings, *left]) == list(range(len(messages)))
    for index, found in readings.items():
        assert found == singly(messages[index])


plain_times = some.integers(microseconds(BEGIN) // 1000, microseconds(NOW) // 1000)
plain_numbers = some.floats(5, 30) | some.integers(5, 30)


@some.composite
def alike(draw: some.DrawFn) -> list[Sent]:
    """Messages with the same fields, as neighbours mostly are; a few are odd in one of them."""
    device_ids = draw(some.sampled_from(["ac", "a", "c", "ab"]))
    name = draw(some.sampled_from(["pm2_5_ugm3", "temperature_c", "pressure_hpa"]))
    rare = draw(some.sampled_from([plain_numbers, numbers]))
    messages = []
    for _ in range(draw(some.integers(1, 9))):
        fields = {"time": draw(plain_times), name: draw(plain_numbers)}
        if draw(some.integers(0, 5)) == 0:
            fields[name] = draw(rare)
        messages.append((draw(some.sampled_from(device_ids)), json.dumps(fields).encode()))
    return messages


@settings(max_examples=400, deadline=None)
@given(alike())
def test_alike_messages_taken_together_are_what_decoding_singly_gives(messages: list[Sent]) -> None:
    readings, left = by_columns(messages)

    assert sorted([*readings, *left]) == list(range(len(messages)))
    for index, found in readings.items():
        assert found == singly(messages[index])


@pytest.mark.parametrize(
    ("device_id", "name", "value"),
    [("a", "pm2_5_ugm3", -999.0), ("c", "temperature_c", -127.0), ("a", "pm2_5_ugm3", "7"),
     ("a", "pm2_5_ugm3", True), ("a", "pm2_5_ugm3", float("nan")), ("a", "vehicles", 3),
     ("a", "pm2_5_ugm3", float("inf")), ("a", "pm2_5_ugm3", 10**400), ("a", "time", 0)],
)  # fmt: skip
def test_one_odd_message_among_alike_ones_is_left_alone(
    device_id: str, name: str, value: object
) -> None:
    fine = {"time": 1795435200000, "pm2_5_ugm3": 12.5, "temperature_c": 20}
    messages = [(device_id, json.dumps(fine).encode())] * 3
    messages[1] = (device_id, json.dumps(fine | {name: value}).encode())

    readings, left = by_columns(messages)

    assert left == [1]
    assert readings == {i: singly(messages[i]) for i in (0, 2)}


def test_a_plain_message_is_not_left_to_the_slow_way() -> None:
    plain = {"time": 1795435200000, "part": "1", "interval_s": 60, "pm2_5_ugm3": 12}
    messages = [("a", json.dumps(plain).encode()), ("a", json.dumps([plain, plain]).encode())]

    readings, left = by_columns(messages)

    assert left == []
    assert [len(found) for found in readings.values()] == [1, 2]


@pytest.mark.parametrize("bad", [b"", b"{", b'{"time":1},{"time":2}', b'{"time":1795435200000'])
def test_a_torn_neighbour_gives_nobody_anothers_values(bad: bytes) -> None:
    fine = json.dumps({"time": 1795435200000, "pm2_5_ugm3": 12}).encode()

    _, left = by_columns([("a", fine), ("a", bad), ("a", fine)])

    assert left == [0, 1, 2]
