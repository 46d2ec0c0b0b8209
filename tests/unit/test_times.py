from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.decoding.times import TimeError, format_utc, from_epoch_ms, parse_rfc3339

ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES))  # noqa: DTZ001 # bounds are naive by contract
def test_what_isoformat_writes_is_read_as_the_same_instant(time: datetime) -> None:
    parsed = parse_rfc3339(time.isoformat())
    assert parsed == time
    assert parsed.tzinfo is UTC


@given(st.text(max_size=80) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{4,12}[Z+]"))
def test_any_text_is_a_time_or_a_time_error(text: str) -> None:
    with suppress(TimeError):
        assert parse_rfc3339(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20240122T070625Z",
        "2024-01-22",
        "2024-01-22T07:06Z",
        "2024-01-22T07:06:25",
        "2024-01-22T07:06:25+07",
        "2024-01-22T07:06:25+0700",
        "2024-01-22T07:06:25,5Z",
        "2024-01-22T24:00:00Z",
        "2024-01-22T07:60:00Z",
        "2024-01-22T07:06:61Z",
        "2024-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "9999-12-31T23:59:60Z",
        "2024-01-22T07:06:25+24:00",
        " 2024-01-22T07:06:25Z",
        "2024-01-22T07:06:25Z\n",
        "2024-01-22T07:06:25." + "1" * 100 + "Z",
        "\u0662\u0660\u0662\u0664-01-22T07:06:25Z",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    with pytest.raises(TimeError):
        parse_rfc3339(text)


def test_a_time_without_zone_is_told_what_it_lacks() -> None:
    with pytest.raises(TimeError, match="without zone"):
        parse_rfc3339("2024-01-22T07:06:25.5")


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_epoch_milliseconds_are_exact(number: int) -> None:
    time = from_epoch_ms(number)
    assert (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) == number


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), 1e300, 10**400, -62_135_596_800_001, 253_402_300_800_000]
)
def test_numbers_beyond_the_calendar_are_refused(number: float) -> None:
    with pytest.raises(TimeError):
        from_epoch_ms(number)


@pytest.mark.parametrize(
    ("microsecond", "text"),
    [(0, "07:06:25.000Z"), (54_000, "07:06:25.054Z"), (54_001, "07:06:25.054001Z")],
)
def test_times_are_written_with_three_decimals_and_six_where_needed(
    microsecond: int, text: str
) -> None:
    assert format_utc(datetime(2024, 1, 22, 7, 6, 25, microsecond, UTC)) == f"2024-01-22T{text}"
