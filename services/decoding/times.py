"""Times as devices write them, to UTC. Pure: no clock is read here."""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:[0-5]\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII
)
_ZONELESS = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?", re.ASCII)
_LONGEST = 64
_LEAP_SECOND = slice(17, 19)


class TimeError(ValueError):
    """Not a time; the message says why, for a person."""


def parse_rfc3339(text: str) -> datetime:
    """Return the UTC time of an RFC 3339 text with zone; digits beyond microseconds are cut off.

    Raises:
        TimeError: another form, a time without zone, or one that no calendar has.
    """
    if len(text) > _LONGEST:
        raise TimeError(_what_is_wrong(text))
    if _RFC3339.fullmatch(text):
        return _existing(text)
    # Lower case and the second 60 are rare, but the standard has them.
    text = text.upper()
    if text[_LEAP_SECOND] == "60":
        return _after_leap_second(f"{text[:17]}59{text[19:]}")
    if _RFC3339.fullmatch(text):
        return _existing(text)
    raise TimeError(_what_is_wrong(text))


def _after_leap_second(text: str) -> datetime:
    # The second 60 of a minute is the instant at which the next minute begins.
    try:
        return parse_rfc3339(text) + timedelta(seconds=1)
    except OverflowError as error:
        raise TimeError("beyond the years 1 to 9999") from error


def _existing(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise TimeError(f"not a time that exists: {error}") from error


def _what_is_wrong(text: str) -> str:
    if len(text) <= _LONGEST and _ZONELESS.fullmatch(text):
        return "a time without zone (write Z or an offset such as +07:00)"
    return "not an RFC 3339 time such as 2024-01-22T07:06:25Z"


def from_epoch_ms(number: float) -> datetime:
    """Return the UTC time of milliseconds since 1970, to the microsecond.

    Raises:
        TimeError: not finite, or beyond the years 1 to 9999.
    """
    try:
        return EPOCH + timedelta(milliseconds=number)
    except (ValueError, OverflowError) as error:
        raise TimeError("epoch milliseconds beyond the years 1 to 9999") from error


def format_utc(time: datetime) -> str:
    """Write a time in UTC with ``Z``: three decimals, six where needed."""
    exact = time.microsecond % 1000 != 0
    text = time.astimezone(UTC).isoformat(timespec="microseconds" if exact else "milliseconds")
    return text.replace("+00:00", "Z")
