from itertools import pairwise

import pytest

from schemas.channels import CHANNELS, KINDS, TEXT_COLUMNS, TEXTS, Channel
from schemas.device_types import COMMON_SENTINELS, DEVICE_TYPES, GENERIC, device_type, sentinels_of
from schemas.readings import MESSAGES
from schemas.topics import KAFKA_TOPICS, MQTT_TOPICS, RAW

ALL = [channel for kind in KINDS for channel in CHANNELS[kind].values()]
UNIT_OF_SUFFIX = {
    "ugm3": "µg/m³", "ppm": "ppm", "ppb": "ppb", "c": "°C", "pct": "%", "hpa": "hPa", "mm": "mm",
    "ms": "m/s", "deg": "°", "wm2": "W/m²", "dba": "dB(A)", "m": "m", "s": "s", "kmh": "km/h",
    "mbps": "Mbit/s", "rpm": "1/min", "bytes": "B",
}  # fmt: skip


@pytest.mark.parametrize("channel", ALL, ids=lambda channel: channel.name)
def test_what_a_city_believes_lies_within_what_an_instrument_can_report(channel: Channel) -> None:
    for (low, high), (inner_low, inner_high) in pairwise((channel.physical, channel.plausible)):
        assert low <= inner_low < inner_high <= high


@pytest.mark.parametrize("channel", ALL, ids=lambda channel: channel.name)
def test_a_name_carries_its_unit(channel: Channel) -> None:
    suffix = channel.name.rsplit("_", 1)[-1]
    expected = UNIT_OF_SUFFIX.get(suffix, "1")
    if channel.kind == "broadband" and suffix == "ms":
        expected = "ms"
    assert channel.unit == expected
    assert channel.description.endswith(".")


def test_a_name_means_one_thing_within_a_kind_whether_number_or_text() -> None:
    assert all(not CHANNELS[kind].keys() & TEXTS[kind].keys() for kind in KINDS)
    assert len({channel.name for channel in ALL}) == len(ALL)
    assert TEXT_COLUMNS["broadband"][0] == "tool"


@pytest.mark.parametrize("model", DEVICE_TYPES.values(), ids=lambda model: model.name)
def test_a_device_type_speaks_of_channels_that_its_kinds_have(model: object) -> None:
    assert model is DEVICE_TYPES[device_type(getattr(model, "name", "")).name]
    for found in DEVICE_TYPES.values():
        known = {name: channel for kind in found.kinds for name, channel in CHANNELS[kind].items()}
        assert found.sentinels.keys() | found.plausible.keys() <= known.keys()
        for name, (low, high) in found.plausible.items():
            assert known[name].physical[0] <= low < high <= known[name].physical[1]


def test_a_type_that_nobody_described_is_generic() -> None:
    assert device_type("something-new") is GENERIC


@pytest.mark.parametrize("channel", ALL, ids=lambda channel: channel.name)
def test_a_common_sentinel_is_never_a_value_that_a_city_believes(channel: Channel) -> None:
    low, high = channel.plausible
    sentinels = sentinels_of(channel, GENERIC)
    assert sentinels <= set(COMMON_SENTINELS)
    assert not any(low <= value <= high for value in sentinels)


def test_every_kind_has_a_message_contract_and_every_channel_is_in_it() -> None:
    for kind in KINDS:
        definition = MESSAGES[kind].json_schema()["$defs"][f"{kind.capitalize()}Reading"]
        assert definition["properties"].keys() >= CHANNELS[kind].keys() | TEXTS[kind].keys()
        assert definition["required"] == ["time"]


def test_raw_messages_are_kept_by_the_brokers_clock_for_a_week() -> None:
    assert KAFKA_TOPICS == {"telemetry.raw": RAW}
    assert RAW.config["message.timestamp.type"] == "LogAppendTime"
    assert RAW.config["retention.ms"] == "604800000"
    assert all(isinstance(value, str) for value in RAW.config.values())
    assert MQTT_TOPICS["native"] == ("citytally/v1/#",)
