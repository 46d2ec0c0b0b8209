from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.channels import CHANNELS, Channel
from schemas.messages import Reading, Refusal
from schemas.outcomes import Flag
from schemas.reasons import Reason
from services.decoding.judging import FUTURE_TOLERANCE, Device, judge

NOON = datetime(2024, 1, 22, 12, tzinfo=UTC)
STATION = Device("station-1")
ALL = [channel for kind in CHANNELS.values() for channel in kind.values()]


def reading(  # what a test may want to be otherwise
    kind: str = "environmental",
    *,
    time: datetime = NOON,
    interval_s: float | None = None,
    values: dict[str, float] | None = None,
    flags: dict[str, dict[str, Any]] | None = None,
    refusal: Refusal | None = None,
) -> Reading:
    return Reading(
        kind=kind,
        device_id="station-1",
        part="",
        time=time,
        time_source="device",
        interval_s=interval_s,
        values=values or {},
        texts={},
        flags=flags,
        extra=None,
        refusal=refusal,
    )


def reason(judged: Reading) -> Reason | None:
    return judged.refusal.reason if judged.refusal else None


def test_an_unregistered_device_is_refused_not_guessed() -> None:
    assert reason(judge(reading(), None, NOON)) is Reason.UNKNOWN_DEVICE


def test_what_decoding_refused_is_left_as_it_is() -> None:
    refusal = Refusal(Reason.SCHEMA, "odd", "time")
    judged = judge(reading(refusal=refusal, values={"temperature_c": 999.0}), None, NOON)
    assert judged.refusal is refusal
    assert judged.values == {"temperature_c": 999.0}


@pytest.mark.parametrize(("late_us", "expected"), [(0, None), (1, Reason.FUTURE_TIME)])
def test_the_future_begins_after_the_tolerance(late_us: int, expected: Reason | None) -> None:
    time = NOON + FUTURE_TOLERANCE + timedelta(microseconds=late_us)
    assert reason(judge(reading(time=time), STATION, NOON)) is expected
    assert reason(judge(reading(time=time), STATION, None)) is None


def test_the_tolerance_is_the_callers() -> None:
    ahead = reading(time=NOON + timedelta(seconds=2))
    assert reason(judge(ahead, STATION, NOON, timedelta(seconds=1))) is Reason.FUTURE_TIME


@pytest.mark.parametrize(("early_us", "expected"), [(0, None), (1, Reason.TOO_OLD)])
def test_data_begin_at_data_from(early_us: int, expected: Reason | None) -> None:
    device = Device("station-1", data_from=NOON)
    time = NOON - timedelta(microseconds=early_us)
    assert reason(judge(reading(time=time), device, NOON)) is expected


def test_however_late_a_reading_is_within_its_devices_data() -> None:
    judged = judge(reading(), Device("station-1", data_from=NOON), NOON + timedelta(days=3650))
    assert (reason(judged), judged.time) == (None, NOON)


@pytest.mark.parametrize(
    ("device_type", "interval_s", "seconds_before"),
    [
        ("generic", 60.0, 0),
        ("generic-end-stamped", 60.0, 60),
        ("generic-end-stamped", None, 0),
        ("generic-middle-stamped", 60.0, 30),
        ("generic-middle-stamped", 1.0, 0.5),
    ],
)
def test_time_becomes_the_start_of_what_the_value_covers(
    device_type: str, interval_s: float | None, seconds_before: float
) -> None:
    judged = judge(reading(interval_s=interval_s), Device("station-1", device_type), NOON)
    assert judged.time == NOON - timedelta(seconds=seconds_before)


def test_an_interval_that_begins_before_the_calendar_is_refused_at_its_place() -> None:
    judged = judge(reading(interval_s=1e300), Device("station-1", "generic-end-stamped"), NOON)
    assert judged.refusal
    assert (judged.refusal.reason, judged.refusal.path) == (Reason.SCHEMA, "interval_s")


def test_a_types_interval_stands_in_for_a_missing_one_only() -> None:
    segment = Device("station-1", "citypulse-segment")
    assert judge(reading("traffic"), segment, NOON).interval_s == 300
    assert judge(reading("traffic", interval_s=60.0), segment, NOON).interval_s == 60


@pytest.mark.parametrize("channel", ALL, ids=lambda channel: channel.name)
def test_bounds_belong_to_the_range_and_what_is_outside_is_flagged(channel: Channel) -> None:
    for bound, outside in zip(channel.plausible, (-1, 1), strict=True):
        assert _flag_of(channel, bound) is None
        if bound not in channel.physical:
            assert _flag_of(channel, bound + outside * 1e-6 * max(abs(bound), 1)) == Flag.SUSPECT
    for bound, outside in zip(channel.physical, (-1, 1), strict=True):
        assert _flag_of(channel, bound + outside * 1e-6 * max(abs(bound), 1)) == Flag.FAIL


def _flag_of(channel: Channel, value: float) -> int | None:
    judged = judge(reading(channel.kind, values={channel.name: value}), STATION, None)
    flag = (judged.flags or {}).get(channel.name, {}).get("flag")
    assert (channel.name in judged.values) == (flag != Flag.FAIL)
    return flag


@given(st.dictionaries(st.sampled_from([*CHANNELS["environmental"]]), st.floats(allow_nan=False)))
def test_nothing_is_lost_by_judging(values: dict[str, float]) -> None:
    judged = judge(reading(values=dict(values)), STATION, None)
    originals = {name: flag["original"] for name, flag in (judged.flags or {}).items()}
    assert {**judged.values, **originals} == values


def test_the_original_that_a_convention_kept_stays_the_original() -> None:
    kept = {"co_ugm3": {"original": 5000.0, "original_unit": "mg/m3"}}
    judged = judge(reading(values={"co_ugm3": 5e6}, flags=kept), STATION, None)
    assert judged.flags == {
        "co_ugm3": {
            "flag": 4,
            "why": "outside physical bounds",
            "original": 5000.0,
            "original_unit": "mg/m3",
        }
    }


def test_a_device_type_may_believe_less_than_the_city() -> None:
    station = Device("station-1", "sensor-community-station")
    judged = judge(reading(values={"pm2_5_ugm3": 999.95, "pm10_ugm3": -1.0}), station, None)
    assert judged.values == {"pm2_5_ugm3": 999.95}
    assert judged.flags
    assert [flag["flag"] for flag in judged.flags.values()] == [3, 4]
