"""A reading held against the registry: whose it is, what its time stands for, whether it is due."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.device_types import DeviceType, device_type
from schemas.messages import Reading, Refusal
from schemas.reasons import Reason
from services.decoding.bounds import flag_values
from services.decoding.times import format_utc

FUTURE_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Device:
    """What judging knows of a registered device.

    ``data_from`` is the earliest time that its readings may have (UTC), None where none is set;
    ``zone`` the IANA zone of its naive times.
    """

    device_id: str
    device_type: str = "generic"
    data_from: datetime | None = None
    zone: str = "UTC"


def judge(
    reading: Reading,
    device: Device | None,
    received_at: datetime | None,
    future_tolerance: timedelta = FUTURE_TOLERANCE,
) -> Reading:
    """Return the reading, judged in place: normalised and flagged, or refused with its reason.

    1. A reading that decoding refused stays as it is.
    2. Without a registry row it is refused.
    3. Its time becomes the start of its interval, by its device type's stamp.
    4. Sentinels and bounds are flagged.
    5. The future and the time before the device's data are refused; the former only where
       ``received_at`` is known.
    """
    if reading.refusal is not None:
        return reading
    if device is None:
        detail = f"the device {reading.device_id} is not registered"
        reading.refusal = Refusal(Reason.UNKNOWN_DEVICE, detail)
        return reading
    _normalise_time(reading, device_type(device.device_type))
    flag_values(reading, device.device_type)
    if reading.refusal is None:
        reading.refusal = _untimely(reading, device, received_at, future_tolerance)
    return reading


def _normalise_time(reading: Reading, model: DeviceType) -> None:
    if reading.interval_s is None:
        reading.interval_s = model.interval_s
    if model.stamp == "start" or reading.interval_s is None or reading.time is None:
        return
    before = reading.interval_s if model.stamp == "end" else reading.interval_s / 2
    try:
        reading.time -= timedelta(seconds=before)
    except OverflowError:
        detail = f"an interval of {reading.interval_s:g} s begins before the year 1"
        reading.refusal = Refusal(Reason.SCHEMA, detail, "interval_s")


def _untimely(
    reading: Reading, device: Device, received_at: datetime | None, tolerance: timedelta
) -> Refusal | None:
    if reading.time is None:
        return None
    if received_at is not None and reading.time - received_at > tolerance:
        ahead = (reading.time - received_at).total_seconds()
        detail = f"{format_utc(reading.time)} is {ahead:.0f} s ahead of its receipt"
        return Refusal(Reason.FUTURE_TIME, detail)
    if device.data_from is not None and reading.time < device.data_from:
        detail = f"{format_utc(reading.time)} is before {format_utc(device.data_from)}, "
        return Refusal(Reason.TOO_OLD, f"{detail}where the data of {device.device_id} begin")
    return None
