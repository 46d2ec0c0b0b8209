"""What a simulated device measures: pure functions of the device and the time."""

from collections.abc import Callable, Iterator
from math import exp, sqrt

from services.simulator import curves
from services.simulator.city import Model, Models, SimulatedDevice
from services.simulator.curves import Moment
from services.simulator.noise import normal, smooth, unit

Fields = dict[str, float | str]

_HOUR_S = 3600
# What the whole city shares, such as its weather, is seeded alike for all devices.
_CITY_AIR, _CITY_HEAT, _CITY_RAIN, _CITY_WIND = 11, 12, 13, 14
_OWN, _LOSS, _GAS = 21, 22, 23

# Shares of motor vehicles on Vietnamese city roads, motorcycles first by far.
_CLASSES = {"motorcycles": 0.80, "cars": 0.125, "vans": 0.02, "buses": 0.01, "trucks": 0.045}
_BICYCLES = 0.01
_PLANS_MBPS = (100, 150, 200, 300, 500)
_SHOWER_REACHES = 0.7  # of the city
_PROVIDERS = ("Provider A", "Provider B", "Provider C")


def observe(device: SimulatedDevice, time_s: float) -> Fields:
    """Return channels (and texts) in canonical units at an epoch time, rounded as devices do."""
    return _OBSERVERS[device.model](device, time_s, curves.moment(time_s))


def _air(device: SimulatedDevice, time_s: float, at: Moment) -> Fields:
    key = device.key
    weather = 0.3 * smooth(_CITY_AIR, time_s, 30 * _HOUR_S)
    place = 0.4 * (device.level - 0.5) + 0.15 * smooth(key, time_s, 2400)
    pm2_5 = curves.pm2_5_ugm3(at) * exp(weather + place + 0.04 * normal(key, int(time_s), _OWN))
    temperature = _temperature_c(device, time_s, at)
    fields: Fields = {
        "pm1_ugm3": round(pm2_5 * 0.68, 1),
        "pm2_5_ugm3": round(pm2_5, 1),
        "pm10_ugm3": round(pm2_5 * (1.45 + 0.1 * smooth(key + 1, time_s, 3600)), 1),
        "temperature_c": round(temperature, 2),
        "relative_humidity_pct": round(_humidity_pct(device, time_s, at, temperature), 1),
        "pressure_hpa": round(_pressure_hpa(device, time_s, at), 2),
    }
    if device.level > 2 / 3:  # the better stations measure gases, too
        fields |= _gases(device, time_s, at)
    return fields


def _gases(device: SimulatedDevice, time_s: float, at: Moment) -> Fields:
    stir = exp(0.2 * smooth(device.key + _GAS, time_s, 3600))
    return {
        "no2_ugm3": round((12 + 30 * curves.traffic(at)) * stir, 1),
        "o3_ugm3": round((15 + 70 * curves.bump(at.hour, 13.5, 2.8)) * stir, 1),
    }


def _weather(device: SimulatedDevice, time_s: float, at: Moment) -> Fields:
    temperature = _temperature_c(device, time_s, at)
    wind = max(0.0, 1.6 + 1.2 * curves.bump(at.hour, 14, 4) + smooth(device.key, time_s, 1800))
    direction = (
        180
        + 60 * smooth(_CITY_WIND, time_s, 18 * _HOUR_S)
        + 15 * smooth(device.key + 2, time_s, 900)
    )
    rain = _rain_mm(device, time_s, at)
    cloud = 0.75 + 0.2 * smooth(_CITY_RAIN, time_s, 5400)
    return {
        "temperature_c": round(temperature, 2),
        "relative_humidity_pct": round(_humidity_pct(device, time_s, at, temperature), 1),
        "pressure_hpa": round(_pressure_hpa(device, time_s, at), 2),
        "wind_speed_ms": round(wind, 1),
        "wind_gust_ms": round(wind * 1.6 + 0.5, 1),
        "wind_direction_deg": round(direction % 360, 0) % 360,
        "rain_mm": rain,
        "solar_wm2": round(
            curves.solar_wm2(at) * min(1.0, max(0.1, cloud)) * (0.3 if rain else 1), 0
        ),
    }


def _rain_mm(device: SimulatedDevice, time_s: float, at: Moment) -> float:
    """Return five minutes of rain: showers of an hour that most of the city shares."""
    shower = unit(_CITY_RAIN, int(time_s // _HOUR_S)) < curves.rain_chance(at)
    if not shower or unit(device.key, int(time_s // _HOUR_S), _CITY_RAIN) > _SHOWER_REACHES:
        return 0.0
    return round(max(0.0, 1.2 + 1.5 * smooth(device.key + 3, time_s, 900)), 1)


def _temperature_c(device: SimulatedDevice, time_s: float, at: Moment) -> float:
    wander = 0.9 * smooth(_CITY_HEAT, time_s, 20 * _HOUR_S)
    return (
        curves.temperature_c(at)
        + wander
        + device.level
        + 0.3 * smooth(device.key + 4, time_s, 1800)
    )


def _humidity_pct(device: SimulatedDevice, time_s: float, at: Moment, temperature: float) -> float:
    wander = 1.5 * smooth(device.key + 5, time_s, 2400)
    return min(99.0, curves.relative_humidity_pct(at, temperature) + wander)


def _pressure_hpa(device: SimulatedDevice, time_s: float, at: Moment) -> float:
    wander = 1.2 * smooth(_CITY_HEAT + 100, time_s, 40 * _HOUR_S)
    return curves.pressure_hpa(at) + wander + 0.1 * normal(device.key, int(time_s), _OWN)


def _sound(device: SimulatedDevice, time_s: float, at: Moment) -> Fields:
    place = 10 * (device.level - 0.5)
    level = curves.sound_dba(at) + place + 1.2 * smooth(device.key, time_s, 600)
    level += 0.8 * normal(device.key, int(time_s), _OWN)
    passing = 9 + 3 * unit(device.key, int(time_s), 1)
    return {
        "laeq_dba": round(level, 1),
        "lamax_dba": round(level + passing, 1),
        "la90_dba": round(level - 6 - device.level, 1),
    }


def _traffic(device: SimulatedDevice, time_s: float, at: Moment) -> Fields:
    arterial = device.model is Models.ARTERIAL.value
    capacity = (3500 + 4000 * device.level) if arterial else (500 + 1500 * device.level)
    busy = curves.traffic(at) * exp(0.12 * smooth(device.key, time_s, 1800))
    expected = capacity * busy * (device.model.interval_s or 0) / _HOUR_S
    counts: Fields = dict(_counts(device, time_s, expected))
    vehicles = sum(int(counts[name]) for name in _CLASSES)
    fields: Fields = {"vehicles": vehicles, **counts, "counted_s": device.model.interval_s or 0}
    if vehicles:
        fields |= _speeds(device, time_s, busy, free_kmh=50.0 if arterial else 38.0)
    return fields


def _counts(device: SimulatedDevice, time_s: float, expected: float) -> Iterator[tuple[str, int]]:
    """Return counts by class that scatter as counts do."""
    for number, (name, share) in enumerate({**_CLASSES, "bicycles": _BICYCLES}.items()):
        mean = expected * share
        scatter = sqrt(mean) * normal(device.key, int(time_s), number)
        # Rounding up by chance keeps rare classes rare instead of never.
        yield name, max(0, int(mean + scatter + unit(device.key, int(time_s), number, 1)))


def _speeds(device: SimulatedDevice, time_s: float, busy: float, free_kmh: float) -> Fields:
    crowding = min(1.0, busy) ** 2
    speed = free_kmh * (1 - 0.5 * crowding) + 1.5 * smooth(device.key + 1, time_s, 900)
    speed += 0.8 * normal(device.key, int(time_s), _OWN)
    return {
        "speed_kmh": round(speed, 1),
        "speed_p85_kmh": round(speed * 1.17, 1),
        "occupancy_pct": round(min(95.0, 2 + 32 * busy), 1),
    }


def _line(device: SimulatedDevice, time_s: float, at: Moment) -> Fields:
    key = device.key
    plan = _PLANS_MBPS[int(device.level * len(_PLANS_MBPS))]
    crowd = curves.evening_load(at) * (0.6 + 0.4 * unit(key, 1))
    steady = 0.02 * normal(key, int(time_s), _OWN)
    idle = 4 + 8 * unit(key, 2) + 6 * crowd + abs(normal(key, int(time_s), 3))
    lost = unit(key, int(time_s), _LOSS) < 0.03 + 0.15 * crowd
    return {
        "download_mbps": round(plan * (0.94 - 0.35 * crowd + steady), 2),
        "upload_mbps": round(plan * (0.90 - 0.12 * crowd + steady), 2),
        "latency_ms": round(idle, 2),
        "latency_loaded_ms": round(idle * (2.5 + 4 * crowd), 2),
        "jitter_ms": round(0.4 + 3 * crowd + 0.3 * abs(normal(key, int(time_s), 4)), 2),
        "packet_loss_pct": round(0.2 + 1.5 * crowd, 2) if lost else 0.0,
        "duration_s": round(21 + 2 * unit(key, int(time_s), 5), 1),
        "success": 1,
        "isp": _PROVIDERS[int(unit(key, 6) * len(_PROVIDERS))],
        "access": "wired",
        "tool": "simulated",
    }


_OBSERVERS: dict[Model, Callable[[SimulatedDevice, float, Moment], Fields]] = {
    Models.AIR.value: _air,
    Models.WEATHER.value: _weather,
    Models.SOUND.value: _sound,
    Models.ARTERIAL.value: _traffic,
    Models.STREET.value: _traffic,
    Models.LINE.value: _line,
}
