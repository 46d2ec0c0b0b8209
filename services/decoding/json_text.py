"""JSON as devices send it, parsed strictly; what cannot be parsed is told by byte position."""

import re
from typing import Any

from pydantic_core import from_json

from schemas.messages import Refusal
from schemas.reasons import Reason

_TOO_MANY_DIGITS = "number out of range"
_LONE_SURROGATE = {"lone leading surrogate in hex escape", "unexpected end of hex escape"}
_PLACE = re.compile(r"(.*) at line (\d+) column (\d+)$", re.DOTALL)
# The parser takes integer parts of 4300 digits at most; such numbers are beyond any float. Texts
# are matched too, closed or not, so that digits inside of them are left alone. No byte is looked at
# more than twice: nothing here backtracks, and a number is not begun in its middle.
_LONG_NUMBER = re.compile(
    rb'"(?:[^"\\]++|\\.)*+"?'
    rb"|(?<![\d.eE+-])-?\d{4000,}+(?:\.\d++)?(?:[eE][+-]?\d++)?",
    re.DOTALL,
)


def parse(payload: bytes) -> Any:  # noqa: ANN401 # any JSON value
    """Return the value of a JSON payload, or a ``malformed`` refusal with its byte position.

    NaN, Infinity and numbers beyond a float's range come back as such floats: whether they matter
    depends on where they stand. Of a duplicate key the last one stands. Nesting deeper than 201 is
    malformed. Takes time proportional to the payload's length.
    """
    try:
        return from_json(payload, allow_inf_nan=True, cache_strings="keys")
    except ValueError as error:
        if _TOO_MANY_DIGITS in str(error):
            return _parse_without_long_numbers(payload)
        return _malformed(payload, str(error))


def _parse_without_long_numbers(payload: bytes) -> Any:  # noqa: ANN401 # any JSON value
    try:
        return from_json(
            _LONG_NUMBER.sub(_as_infinity, payload), allow_inf_nan=True, cache_strings="keys"
        )
    except ValueError as error:
        return _malformed(payload, str(error))


def _as_infinity(match: re.Match[bytes]) -> bytes:
    # The same length, so that positions of later errors stay true.
    token = match[0]
    if token.startswith(b'"'):
        return token
    infinity = b"-1e999" if token.startswith(b"-") else b"1e999"
    return infinity.ljust(len(token))


def _malformed(payload: bytes, error: str) -> Refusal:
    match = _PLACE.fullmatch(error)
    if match is None:
        return malformed(f"not JSON: {error}", 0)
    what, position = match[1], _position(payload, match)
    if "unicode" in what:
        what, position = "invalid UTF-8", _invalid_utf8(payload, position)
    if what in _LONE_SURROGATE:
        what = "half of a surrogate pair, which is no character,"
    return malformed(f"not JSON: {what.replace('EOF', 'ends')} at byte {position}", position)


def malformed(detail: str, position: int) -> Refusal:
    """Return the refusal of a payload that stops making sense at a byte."""
    return Refusal(Reason.MALFORMED, detail, position=position)


def _position(payload: bytes, match: re.Match[str]) -> int:
    # A column is one-based, save at the end of the payload, which no byte stands at.
    what, line, column = match[1], int(match[2]), int(match[3])
    if what.startswith("EOF"):
        return len(payload)
    start = 0
    for _ in range(line - 1):
        start = payload.index(b"\n", start) + 1
    return start + column - 1


def _invalid_utf8(payload: bytes, position: int) -> int:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        return error.start
    return position


def first_byte(payload: bytes) -> int:
    """Return the position of the first byte that is no white space."""
    return len(payload) - len(payload.lstrip(b" \t\r\n"))
