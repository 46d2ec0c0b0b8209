"""How a city in the south of Viet Nam goes through its day, its week and its year.

Pure functions of the hour of the day (0 to 24, local), the weekday (Monday 0) and the month (0 to
12, 0.5 the middle of January). Shapes, not measurements: they make a dashboard look like a city.
"""

from dataclasses import dataclass
from math import cos, exp, log10, pi

ZONE_S = 7 * 3600
"""UTC+7 all year; Viet Nam keeps no summer time."""

_DAY_S = 86_400
_YEAR_S = 31_556_952
_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as the city lives it."""

    hour: float
    weekday: int
    month: float


def moment(time_s: float) -> Moment:
    """Return the local hour, weekday and month of an epoch time in seconds."""
    local_s = time_s + ZONE_S
    days = int(local_s // _DAY_S)
    # 1 January 1970 was a Thursday.
    return Moment(local_s % _DAY_S / 3600, (days + 3) % 7, local_s % _YEAR_S / _YEAR_S * 12)


def bump(hour: float, centre: float, width: float) -> float:
    """Return a bell over the clock: 1 at ``centre``, around midnight as well."""
    distance = abs(hour - centre)
    distance = min(distance, 24 - distance)
    return exp(-0.5 * (distance / width) ** 2)


def traffic(at: Moment) -> float:
    """Return how busy the roads are: about 1 in the two rush hours of a working day."""
    hour = at.hour
    if at.weekday < _SATURDAY:
        rush = 0.9 * bump(hour, 7.0, 0.9) + 0.9 * bump(hour, 17.3, 1.1)
        return 0.04 + rush + 0.4 * bump(hour, 12.0, 3.0) + 0.25 * bump(hour, 20.5, 1.5)
    outing = 0.45 * bump(hour, 9.5, 2.5) + 0.65 * bump(hour, 18.5, 2.5)
    return 0.05 + outing + 0.2 * bump(hour, 14.0, 3.0)


def pm2_5_ugm3(at: Moment) -> float:
    """Return fine particles: the dry season's high, and a morning peak under the inversion."""
    season = 22.0 + 11.0 * cos(2 * pi * (at.month - 0.7) / 12)
    peaks = 0.55 * bump(at.hour, 7.5, 1.6) + 0.25 * bump(at.hour, 20.0, 2.0)
    return season * (0.85 + peaks - 0.25 * bump(at.hour, 14.5, 2.5))


def temperature_c(at: Moment) -> float:
    """Return air temperature: hottest in April, and at two in the afternoon."""
    season = 27.7 + 1.5 * cos(2 * pi * (at.month - 3.7) / 12)
    return season + 3.8 * cos(2 * pi * (at.hour - 14.0) / 24)


def relative_humidity_pct(at: Moment, temperature: float) -> float:
    """Return relative humidity: it falls as the day warms, and the rainy season lifts it."""
    season = 78.0 - 6.0 * cos(2 * pi * (at.month - 1.8) / 12)
    return min(98.0, max(35.0, season - 3.6 * (temperature - 27.7)))


def pressure_hpa(at: Moment) -> float:
    """Return air pressure with the tropics' two tides a day."""
    season = 1009.5 + 1.5 * cos(2 * pi * (at.month - 0.5) / 12)
    return season + 1.3 * cos(2 * pi * (at.hour - 10.0) / 12)


def solar_wm2(at: Moment) -> float:
    """Return clear-sky irradiance: a bow from six to six."""
    return max(0.0, 950.0 * cos(pi * (at.hour - 12.0) / 12.0))


def rain_chance(at: Moment) -> float:
    """Return how likely rain is within an hour: afternoons of May to October."""
    season = max(0.0, cos(2 * pi * (at.month - 7.5) / 12))
    return 0.02 + 0.4 * season * bump(at.hour, 16.0, 2.0)


def sound_dba(at: Moment) -> float:
    """Return the street's equivalent level: ten times the traffic is ten decibels more."""
    return 70.0 + 10.0 * log10(traffic(at) + 0.02)


def evening_load(at: Moment) -> float:
    """Return how crowded the access networks are: 1 when the city is at home and streaming."""
    weekend = 0.25 * bump(at.hour, 15.0, 3.0) if at.weekday >= _SATURDAY else 0.0
    return min(1.0, bump(at.hour, 21.0, 1.5) + weekend)
