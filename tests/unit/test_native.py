"""The native convention beyond its examples: properties, hostile payloads, second counter."""

import json
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.channels import CHANNELS, KINDS, TEXTS
from schemas.messages import Decoded, Message, Reading, Undecodable
from schemas.readings import READINGS
from schemas.reasons import OF_A_MESSAGE, OF_A_READING, Reason
from services.decoding.conventions import native
from services.decoding.counting import count_readings
from services.decoding.detect import decode, decode_batch
from tests.support.payloads import ANYTHING, TOPICS, as_payload, native_objects, torn

KIND = st.sampled_from(KINDS)


def decoded(payload: bytes, kind: str = "environmental") -> list[Reading]:
    result = decode(Message(f"citytally/v1/{kind}/station-1", payload))
    assert isinstance(result, Decoded)
    return result.readings


def undecodable(payload: bytes) -> Undecodable:
    result = decode(Message("citytally/v1/environmental/station-1", payload))
    assert isinstance(result, Undecodable)
    return result


@given(TOPICS, st.binary() | ANYTHING.map(as_payload))
def test_any_bytes_on_any_topic_are_a_result(topic: str, payload: bytes) -> None:
    result = decode(Message(topic, payload))
    if isinstance(result, Undecodable):
        assert result.refusal.reason in OF_A_MESSAGE - {Reason.DECODER_FAILED}
    else:
        assert isinstance(result, Decoded)


@given(KIND, st.data())
def test_native_like_messages_never_break_the_decoder(kind: str, data: st.DataObject) -> None:
    content = data.draw(st.lists(native_objects(kind) | ANYTHING, max_size=4))
    payload = data.draw(st.just(as_payload(content)) | torn(as_payload(content)))
    result = decode(Message(f"citytally/v1/{kind}/a", payload))
    if isinstance(result, Undecodable):
        assert result.refusal.reason is Reason.MALFORMED
    readings = result.readings if isinstance(result, Decoded) else []
    assert [reading.position for reading in readings] == list(range(len(readings)))
    for reading in readings:
        assert reading.values.keys() <= CHANNELS[kind].keys()
        assert reading.texts.keys() <= TEXTS[kind].keys()
        assert reading.refusal is None or reading.refusal.reason in OF_A_READING
        assert reading.refusal or reading.time
        json.dumps([reading.values, reading.extra], allow_nan=False)


@given(KIND, st.data())
def test_decoder_and_contract_refuse_the_same_types(kind: str, data: st.DataObject) -> None:
    payload = as_payload(data.draw(native_objects(kind)))
    [reading] = decoded(payload, kind)
    if reading.refusal and reading.refusal.path in {"time", "device_id"}:
        return  # what a time says and whose id it is are beyond types, and the first refusal stands
    assert (reading.refusal is None) == _keeps_contract(kind, payload)


def _keeps_contract(kind: str, payload: bytes) -> bool:
    try:
        READINGS[kind].validate_json(payload)
    except ValidationError:
        return False
    return True


@given(st.data())
def test_the_second_counter_finds_what_the_decoder_finds(data: st.DataObject) -> None:
    content = data.draw(st.lists(native_objects("traffic") | ANYTHING, max_size=3) | ANYTHING)
    payload = data.draw(st.just(as_payload(content)) | torn(as_payload(content)) | st.binary())
    result = decode(Message("citytally/v1/traffic/a", payload))
    expected = len(result.readings) if isinstance(result, Decoded) else None
    assert count_readings("native", payload) == expected


@pytest.mark.parametrize("depth", [199, 200, 201, 202, 5_000, 100_000])
def test_decoder_and_second_counter_agree_on_nesting(depth: int) -> None:
    payload = b'{"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    result = decode(Message("citytally/v1/traffic/a", payload))
    assert count_readings("native", payload) == (1 if isinstance(result, Decoded) else None)
    assert isinstance(result, Decoded) == (depth <= 201)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"time": 0, "x": 1' + b"0" * 5_000 + b"}",
        b'{"time": 0, "x": "1' + b"0" * 5_000 + b'", "y": 1' + b"0" * 5_000 + b"}",
        b'{"x": -1' + b"0" * 5_000 + b', "time": 0}',
    ],
)
def test_a_huge_integer_that_nobody_asked_for_is_kept_as_infinity(payload: bytes) -> None:
    [reading] = decoded(payload)
    assert reading.refusal is None
    assert reading.extra
    assert any(str(value).endswith("Infinity") for value in reading.extra.values())
    assert all(value[:2] in {"10", "In", "-I"} for value in reading.extra.values())


def test_after_a_huge_integer_a_malformed_place_is_still_true() -> None:
    payload = b'{"x": 1' + b"0" * 5_000 + b', "y": ?}'
    assert undecodable(payload).refusal.position == payload.index(b"?")


@pytest.mark.parametrize(
    ("payload", "position"),
    [
        (b'{\n"a": 1,\n"b": ?}', 15),
        (b'{"a": "x\ny"}', 8),
        (b'{"a": "\xc3\xa9\xff"}', 9),
        (b'{"a": 01}', 7),
        (b"\xff\xfe\x00", 0),
        (b" \n ", 3),
        (b'["' + b"\\" * 3, 5),
    ],
)
def test_malformed_is_told_by_byte(payload: bytes, position: int) -> None:
    refusal = undecodable(payload).refusal
    assert (refusal.reason, refusal.position) == (Reason.MALFORMED, position)


def test_the_first_thing_found_wrong_stands_and_the_rest_is_still_read() -> None:
    [reading] = decoded(b'{"time": "noon", "temperature_c": "x", "pm10_ugm3": 3, "odd": 1}')
    assert reading.refusal
    assert reading.refusal.path == "time"
    assert (reading.values, reading.extra) == ({"pm10_ugm3": 3.0}, {"odd": 1})


def test_a_batch_has_one_result_a_message_in_order() -> None:
    topics = ["citytally/v1/traffic/a", "nowhere", "citytally/v1/traffic/b"]
    results = decode_batch([Message(topic, b'{"time": 0}') for topic in topics])
    assert [type(result) for result in results] == [Decoded, Undecodable, Decoded]


def test_native_claims_its_own_topics_only() -> None:
    assert native.claims("citytally/v1/traffic/" + "a" * 128)
    for topic in ("citytally/v1/traffic/" + "a" * 129, "citytally/v1/traffic/a\n", "", "a/b"):
        assert not native.claims(topic)


HOSTILE: dict[str, Any] = {
    "garbage": lambda n: b"\x80" * n,
    "nesting": lambda n: b"[" * n,
    "fractions, then exponents": lambda n: b"[1" + b"0" * n + b"." + b"1" * n + b"e" + b"1" * n,
    "objects nested": lambda n: b'{"a":' * (n // 5),
    "numbers": lambda n: b"[" + b"1," * (n // 2) + b"1]",
    "objects": lambda n: b"[" + b"{}," * (n // 3) + b"{}]",
    "keys": lambda n: b"{" + b",".join(b'"%d":1' % i for i in range(n // 10)) + b"}",
    "same key": lambda n: b'{"a":1' + b',"a":1' * (n // 6) + b"}",
    "digits": lambda n: b'{"temperature_c": 1' + b"0" * n + b"}",
    "decimals": lambda n: b'{"temperature_c": 0.' + b"1" * n + b"}",
    "digits, then quotes": lambda n: b"[1" + b"0" * 5_000 + b'"\\"' * (n // 3),
    "digits, then digits": lambda n: b"[1" + b"0" * n + b".5, 1" + b"0" * n + b"?",
    "many huge integers": lambda n: b"[" + (b"1" + b"0" * 5_000 + b",") * (n // 5_000) + b"1]",
    "lines": lambda n: b"\n" * n + b"?",
    "text": lambda n: b'{"time": "' + b"9" * n + b'"}',
    "escapes": lambda n: b'{"part": "' + b"\\u0041" * (n // 6) + b'"}',
    "long key": lambda n: b'{"' + b"k" * n + b'": NaN}',
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_ten_times_the_bytes_take_some_ten_times_as_long(hostile: str) -> None:
    small, large = (HOSTILE[hostile](size) for size in (50_000, 500_000))
    # Quadratic time would make it a hundredfold; the floor keeps a busy machine's noise out.
    assert _seconds(large) < 40 * max(_seconds(small), 0.02)


def test_ten_megabytes_of_garbage_are_one_malformed_message() -> None:
    assert _seconds(b"\x80" * 10_000_000) < 5
    assert _seconds(b'{"time": "' + b"9" * 10_000_000) < 5


def _seconds(payload: bytes) -> float:
    message = Message("citytally/v1/environmental/a", payload)
    start = process_time()
    result = decode(message)
    elapsed = process_time() - start
    assert not isinstance(result, Undecodable) or result.refusal.reason is Reason.MALFORMED
    return elapsed
