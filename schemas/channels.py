"""Every channel, declared once: what a reading may hold, in which unit and within which bounds.

To add a channel: a line here, a column in a migration, `python -m schemas.generate`, an example.
"""

from dataclasses import dataclass
from enum import StrEnum

Bounds = tuple[float, float]


class Aggregate(StrEnum):
    """How an hour of a channel becomes one figure."""

    MEAN = "mean"
    ENERGY = "energy"
    """The mean of sound energy, not of decibels."""
    CIRCULAR = "circular"
    """The direction of the mean vector."""
    SUM = "sum"
    MAXIMUM = "maximum"
    COUNTER = "counter"
    """The difference of a number that only rises, save for resets and roll-over."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One number that a reading of a kind may hold; its name carries its unit.

    ``physical`` is what an instrument can report: outside of it a value is withheld (flag 4).
    ``plausible`` is what any city would believe: outside of it a value is suspect (flag 3); device
    types narrow or widen it. Both bounds belong to the range.
    """

    name: str
    kind: str
    unit: str
    physical: Bounds
    plausible: Bounds
    aggregate: Aggregate
    description: str


@dataclass(frozen=True, slots=True)
class Text:
    """One text that a reading of a kind may hold; ``choices`` closes the set where it is closed."""

    name: str
    kind: str
    description: str
    choices: tuple[str, ...] = ()


_MEAN, _SUM, _ENERGY = Aggregate.MEAN, Aggregate.SUM, Aggregate.ENERGY
_MAXIMUM, _COUNTER, _CIRCULAR = Aggregate.MAXIMUM, Aggregate.COUNTER, Aggregate.CIRCULAR

_PM: Bounds = (-15.0, 10_000.0)
_GAS: Bounds = (-200.0, 50_000.0)
_COUNT: Bounds = (0.0, 1e6)
_COUNT_PLAUSIBLE: Bounds = (0.0, 50_000.0)
_SOUND: Bounds = (0.0, 200.0)
_SOUND_PLAUSIBLE: Bounds = (20.0, 130.0)
_PERCENT: Bounds = (0.0, 100.0)
_MILLISECONDS: Bounds = (0.0, 3.6e6)
_MEGABITS: Bounds = (0.0, 1e6)


def _declare(
    kind: str, *rows: tuple[str, str, Bounds, Bounds, Aggregate, str]
) -> dict[str, Channel]:
    return {row[0]: Channel(row[0], kind, *row[1:]) for row in rows}


# fmt: off
_ENVIRONMENTAL = _declare(
    "environmental",
    ("pm1_ugm3", "µg/m³", _PM, (0, 1000), _MEAN, "Particles up to 1 µm, mass concentration."),
    ("pm2_5_ugm3", "µg/m³", _PM, (0, 1000), _MEAN, "Particles up to 2.5 µm, mass concentration."),
    ("pm10_ugm3", "µg/m³", _PM, (0, 2000), _MEAN, "Particles up to 10 µm, mass concentration."),
    ("no2_ugm3", "µg/m³", _GAS, (0, 1000), _MEAN, "Nitrogen dioxide."),
    ("no_ugm3", "µg/m³", _GAS, (0, 2000), _MEAN, "Nitrogen monoxide."),
    ("o3_ugm3", "µg/m³", _GAS, (0, 600), _MEAN, "Ozone."),
    ("so2_ugm3", "µg/m³", _GAS, (0, 2000), _MEAN, "Sulphur dioxide."),
    ("co_ugm3", "µg/m³", (-5000, 2e6), (0, 100_000), _MEAN, "Carbon monoxide."),
    ("co2_ppm", "ppm", (0, 100_000), (300, 5000), _MEAN, "Carbon dioxide, by volume."),
    ("tvoc_ppb", "ppb", (0, 1e6), (0, 10_000), _MEAN, "Volatile organic compounds, total."),
    ("temperature_c", "°C", (-60, 85), (-5, 55), _MEAN, "Air temperature."),
    ("relative_humidity_pct", "%", (-10, 125), _PERCENT, _MEAN, "Relative humidity of the air."),
    ("pressure_hpa", "hPa", (300, 1250), (850, 1085), _MEAN, "Air pressure at the station."),
    ("rain_mm", "mm", (0, 2000), (0, 200), _SUM, "Rain during the interval."),
    ("rain_total_mm", "mm", (0, 1e7), (0, 1e6), _COUNTER, "Rain since the gauge was reset."),
    ("wind_speed_ms", "m/s", (0, 120), (0, 60), _MEAN, "Wind speed."),
    ("wind_gust_ms", "m/s", (0, 150), (0, 90), _MAXIMUM, "Strongest gust during the interval."),
    ("wind_direction_deg", "°", (-180, 360), (0, 360), _CIRCULAR,
     "Direction that the wind comes from, clockwise from north."),
    ("solar_wm2", "W/m²", (-50, 4000), (-20, 1500), _MEAN, "Global solar irradiance."),
    ("laeq_dba", "dB(A)", _SOUND, _SOUND_PLAUSIBLE, _ENERGY, "Equivalent sound level."),
    ("lamax_dba", "dB(A)", _SOUND, (20, 150), _MAXIMUM, "Loudest moment of the interval."),
    ("la10_dba", "dB(A)", _SOUND, _SOUND_PLAUSIBLE, _MEAN, "Level exceeded 10 % of the time."),
    ("la50_dba", "dB(A)", _SOUND, _SOUND_PLAUSIBLE, _MEAN, "Level exceeded 50 % of the time."),
    ("la90_dba", "dB(A)", _SOUND, _SOUND_PLAUSIBLE, _MEAN, "Level exceeded 90 % of the time."),
    ("soil_temperature_c", "°C", (-60, 85), (-5, 60), _MEAN, "Temperature in the soil."),
    ("soil_moisture_pct", "%", (-10, 125), _PERCENT, _MEAN, "Water in the soil, by volume."),
    ("water_level_m", "m", (-500, 10_000), (-20, 50), _MEAN, "Water level above its datum."),
)

_TRAFFIC = _declare(
    "traffic",
    ("vehicles", "1", _COUNT, _COUNT_PLAUSIBLE, _SUM, "Motor vehicles during the interval."),
    ("motorcycles", "1", _COUNT, _COUNT_PLAUSIBLE, _SUM, "Motorcycles during the interval."),
    ("cars", "1", _COUNT, _COUNT_PLAUSIBLE, _SUM, "Cars during the interval."),
    ("vans", "1", _COUNT, _COUNT_PLAUSIBLE, _SUM, "Vans during the interval."),
    ("buses", "1", _COUNT, _COUNT_PLAUSIBLE, _SUM, "Buses during the interval."),
    ("trucks", "1", _COUNT, _COUNT_PLAUSIBLE, _SUM, "Trucks during the interval."),
    ("bicycles", "1", _COUNT, _COUNT_PLAUSIBLE, _SUM, "Bicycles during the interval."),
    ("pedestrians", "1", _COUNT, _COUNT_PLAUSIBLE, _SUM, "People on foot during the interval."),
    ("other_vehicles", "1", _COUNT, _COUNT_PLAUSIBLE, _SUM, "Other vehicles of the interval."),
    ("vehicles_total", "1", (0, 1e15), (0, 1e12), _COUNTER, "Vehicles since the counter's reset."),
    ("counted_s", "s", (0, 3.2e7), (0, 90_000), _SUM, "Seconds of the interval really observed."),
    ("speed_kmh", "km/h", (0, 400), (0, 200), _MEAN, "Mean speed."),
    ("speed_p85_kmh", "km/h", (0, 400), (0, 200), _MEAN, "Speed that 85 % do not exceed."),
    ("occupancy_pct", "%", _PERCENT, _PERCENT, _MEAN, "Share of time that the lane is covered."),
    ("travel_time_s", "s", (0, 86_400), (0, 14_400), _MEAN, "Time to travel the segment."),
    ("headway_s", "s", (0, 86_400), (0, 3600), _MEAN, "Time between two vehicles."),
    ("vehicle_length_m", "m", (0, 200), (0.5, 40), _MEAN, "Mean length of the vehicles."),
)

_BROADBAND = _declare(
    "broadband",
    ("download_mbps", "Mbit/s", _MEGABITS, (0, 10_000), _MEAN, "Download speed."),
    ("upload_mbps", "Mbit/s", _MEGABITS, (0, 10_000), _MEAN, "Upload speed."),
    ("latency_ms", "ms", _MILLISECONDS, (0.1, 5000), _MEAN, "Round trip on an idle line."),
    ("latency_min_ms", "ms", _MILLISECONDS, (0.1, 5000), _MEAN, "Shortest round trip of the test."),
    ("latency_loaded_ms", "ms", _MILLISECONDS, (0.1, 10_000), _MEAN, "Round trip under load."),
    ("jitter_ms", "ms", _MILLISECONDS, (0, 5000), _MEAN, "Variation of the round trip."),
    ("packet_loss_pct", "%", _PERCENT, _PERCENT, _MEAN, "Packets that were lost."),
    ("retransmission_pct", "%", _PERCENT, _PERCENT, _MEAN, "TCP bytes that were sent again."),
    ("responsiveness_rpm", "1/min", (0, 1e6), (1, 60_000), _MEAN, "Round trips a minute, loaded."),
    ("packets_sent", "1", (0, 1e12), (0, 1e9), _SUM, "Packets sent."),
    ("packets_received", "1", (0, 1e12), (0, 1e9), _SUM, "Packets received."),
    ("download_bytes", "B", (0, 1e15), (0, 1e12), _SUM, "Bytes that the test downloaded."),
    ("upload_bytes", "B", (0, 1e15), (0, 1e12), _SUM, "Bytes that the test uploaded."),
    ("duration_s", "s", (0, 3.2e6), (0, 3600), _MEAN, "How long the test took."),
    ("targets_reached", "1", (0, 1e6), (0, 10_000), _SUM, "Targets that answered."),
    ("targets_total", "1", (0, 1e6), (0, 10_000), _SUM, "Targets that were asked."),
    ("success", "1", (0, 1), (0, 1), _MEAN, "1 where the test succeeded, 0 where it failed."),
)
# fmt: on

CHANNELS: dict[str, dict[str, Channel]] = {
    "broadband": _BROADBAND,
    "traffic": _TRAFFIC,
    "environmental": _ENVIRONMENTAL,
}
"""Channels by kind and name, in the order of the tables' columns."""

KINDS: tuple[str, ...] = tuple(CHANNELS)

TEXTS: dict[str, dict[str, Text]] = {
    "broadband": {
        text.name: text
        for text in (
            Text("tool", "broadband", "Program that ran the test, such as ndt7."),
            Text("server", "broadband", "Server that the test ran against."),
            Text("isp", "broadband", "Internet service provider as the test saw it."),
            Text(
                "access",
                "broadband",
                "How the probe reaches its line.",
                ("wired", "wifi", "cellular", "unknown"),
            ),
            Text("address_family", "broadband", "Address family used, such as ipv4."),
            Text("failure", "broadband", "Why the test failed, in the tool's words."),
        )
    },
    "traffic": {},
    "environmental": {},
}
"""Texts by kind and name; only broadband has any."""

TEXT_COLUMNS: dict[str, tuple[str, ...]] = {kind: tuple(texts) for kind, texts in TEXTS.items()}
