"""Hypothesis strategies for messages, from plausible ones to plain bytes."""

import json
from typing import Any

from hypothesis import strategies as st

from schemas.channels import CHANNELS, KINDS, TEXTS

TIMES = st.sampled_from(["2024-01-22T07:06:25Z", "2024-01-22T07:06:25+07:00", 1705907185054, 0.5])
ODD: st.SearchStrategy[Any] = st.sampled_from(
    ["x", "", True, [], {}, 10**400, -1, 0, 1.5, None, float("nan"), float("inf"), "\0", "é"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
TOPICS = st.text(max_size=60) | st.builds(
    "citytally/v1/{}/{}".format,
    st.sampled_from([*KINDS, "weather", ""]),
    st.text(max_size=10) | st.sampled_from(["a", "sc-1", "-", "a/b", "a" * 129]),
)


def native_objects(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with fields that a native message may have, most of them of the right type."""
    names = [*CHANNELS[kind], *TEXTS[kind], "part", "interval_s", "device_id", "simulated", "other"]
    values = st.floats(-100, 100) | st.integers(-5, 5) | st.text(max_size=5) | ODD
    fields = st.dictionaries(st.sampled_from(names), values, max_size=6)
    return st.builds(lambda time, rest: {**rest, **time}, st.just({}) | _time(), fields)


def _time() -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda time: {"time": time}, TIMES | ODD)


def as_payload(content: object) -> bytes:
    """JSON as a careless device writes it, NaN and all."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")


def torn(payload: bytes) -> st.SearchStrategy[bytes]:
    """A payload with a piece missing, or with bytes in its middle that were not there."""
    place = st.integers(0, len(payload))
    return st.builds(lambda a, b, odd: payload[:a] + odd + payload[b:], place, place, st.binary())
