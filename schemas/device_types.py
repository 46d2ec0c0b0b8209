"""Device types as data: what a model measures, how it stamps time, which values mean nothing.

A registry row names its type; a name that is not listed here is treated as ``generic``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.channels import Bounds, Channel

Stamp = Literal["start", "middle", "end"]

COMMON_SENTINELS: tuple[float, ...] = (-127.0, -999.0, -9999.0, 327.67, 32767.0, 65535.0)
"""What firmware sends instead of a value: error codes and the ends of 16-bit integers."""


@dataclass(frozen=True, slots=True)
class DeviceType:
    """What all devices of a model have in common.

    ``interval_s`` is the length of what a reading covers when the message does not say (None: an
    instant), ``stamp`` the end of that interval that the maker stamps. ``sentinels`` and
    ``plausible`` are by channel; the latter replaces the channel's own plausible bounds.
    """

    name: str
    kinds: tuple[str, ...]
    title: str
    interval_s: float | None = None
    stamp: Stamp = "start"
    sentinels: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    plausible: Mapping[str, Bounds] = field(default_factory=dict)


GENERIC = DeviceType(
    "generic", ("broadband", "traffic", "environmental"), "Any device that says what it means"
)

# airRohr's firmware starts each value at these and sends them when a sensor does not answer.
_AIRROHR_SENTINELS = {
    "pm10_ugm3": (-1.0,),
    "pm2_5_ugm3": (-1.0,),
    "pm1_ugm3": (-1.0,),
    "temperature_c": (-128.0,),
    "relative_humidity_pct": (-1.0,),
}

DEVICE_TYPES: dict[str, DeviceType] = {
    device_type.name: device_type
    for device_type in (
        GENERIC,
        DeviceType(
            "generic-end-stamped",
            GENERIC.kinds,
            "Any device that stamps the end of what its values cover",
            stamp="end",
        ),
        DeviceType(
            "generic-middle-stamped",
            GENERIC.kinds,
            "Any device that stamps the middle of what its values cover",
            stamp="middle",
        ),
        DeviceType("environmental-station", ("environmental",), "Air and weather station"),
        DeviceType("sound-meter", ("environmental",), "Sound level meter"),
        DeviceType("traffic-counter", ("traffic",), "Loop, radar or camera that counts traffic"),
        DeviceType("broadband-probe", ("broadband",), "Probe that tests an internet line"),
        DeviceType(
            "sensor-community-station",
            ("environmental",),
            "Sensor.Community station (airRohr: SDS011 with DHT22 or BME280)",
            sentinels=_AIRROHR_SENTINELS,
            # What the SDS011 itself saturates at.
            plausible={"pm2_5_ugm3": (0.0, 999.9), "pm10_ugm3": (0.0, 1999.9)},
        ),
        DeviceType(
            "ds18b20-thermometer",
            ("environmental",),
            "DS18B20 thermometer",
            # 85 °C is what it holds after power-on, before its first conversion.
            sentinels={"temperature_c": (85.0,), "soil_temperature_c": (85.0,)},
        ),
        DeviceType(
            "citypulse-segment",
            ("traffic",),
            "Road segment between two Bluetooth readers (CityPulse Aarhus)",
            interval_s=300.0,
        ),
        DeviceType("speedtest-line", ("broadband",), "Line tested by a scheduled speed test"),
    )
}


def device_type(name: str) -> DeviceType:
    """Return a device type by name, ``generic`` where nobody has described it."""
    return DEVICE_TYPES.get(name, GENERIC)


def sentinels_of(channel: Channel, kind_of_device: DeviceType) -> frozenset[float]:
    """Return the values that mean "no value" for a channel of a device type.

    A common sentinel counts only where it could not be a real value: PM10 of 327.67 µg/m³ can be,
    a temperature cannot.
    """
    low, high = channel.plausible
    common = {value for value in COMMON_SENTINELS if not low <= value <= high}
    return frozenset(common.union(kind_of_device.sentinels.get(channel.name, ())))
