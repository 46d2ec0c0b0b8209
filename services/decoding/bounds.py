"""Sentinels and bounds: values that no instrument can report, and values that no city believes."""

from functools import lru_cache
from typing import NamedTuple

from schemas.channels import CHANNELS, Bounds, Channel
from schemas.device_types import DeviceType, device_type, sentinels_of
from schemas.messages import Reading
from schemas.outcomes import Flag

_REMEMBERED_RULES = 1_000


class _Rule(NamedTuple):
    """What a channel's value is held against."""

    low: float
    high: float
    sentinels: frozenset[float]
    channel: Channel


@lru_cache(maxsize=_REMEMBERED_RULES)
def _rules(type_name: str, kind: str) -> dict[str, _Rule]:
    model = device_type(type_name)
    return {name: _rule(channel, model) for name, channel in CHANNELS[kind].items()}


def _rule(channel: Channel, model: DeviceType) -> _Rule:
    low, high = model.plausible.get(channel.name, channel.plausible)
    return _Rule(low, high, sentinels_of(channel, model), channel)


def flag_values(reading: Reading, type_name: str) -> None:
    """Withhold sentinels and values outside physical bounds, flag what is outside plausible ones.

    Works in place: a withheld value leaves ``values`` (flag 4, the original kept in ``flags``), an
    implausible one stays (flag 3).
    """
    rules = _rules(type_name, reading.kind)
    odd = None
    for name, value in reading.values.items():
        low, high, sentinels, _ = rules[name]
        if not low <= value <= high or value in sentinels:
            odd = [name] if odd is None else [*odd, name]
    for name in odd or ():
        _flag(reading, name, rules[name])


def _flag(reading: Reading, name: str, rule: _Rule) -> None:
    value = reading.values[name]
    flag, why = Flag.FAIL, "outside physical bounds"
    if value in rule.sentinels:
        why = "sentinel: stands for no value"
    elif _within(value, rule.channel.physical):
        flag, why = Flag.SUSPECT, "outside plausible bounds"
    if flag == Flag.FAIL:
        del reading.values[name]
    if reading.flags is None:
        reading.flags = {}
    # A convention that converted the value has kept what it was before.
    kept = reading.flags.get(name, {})
    reading.flags[name] = {
        "flag": flag,
        "why": why,
        "original": kept.get("original", value),
        "original_unit": kept.get("original_unit", rule.channel.unit),
    }


def _within(value: float, bounds: Bounds) -> bool:
    low, high = bounds
    return low <= value <= high
