"""citytally's own convention: ``citytally/v1/<kind>/<device_id>``, an object or an array of them.

``{"time": RFC 3339 with zone or epoch milliseconds, "<channel>": number, …}``, optional ``part``,
``interval_s``, ``device_id`` (must equal the topic's) and ``simulated``. Any other field is kept in
``extra``.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import Any

from schemas.channels import CHANNELS, TEXTS, Channel, Text
from schemas.messages import Decoded, Message, Reading, Refusal, Undecodable
from schemas.reasons import Reason
from schemas.registry import DEVICE_ID
from schemas.topics import MQTT_TOPICS
from services.decoding.convention import Facts
from services.decoding.json_text import first_byte, malformed, parse
from services.decoding.shown import shown
from services.decoding.times import TimeError, from_epoch_ms, parse_rfc3339

NAME = "native"
TOPICS = MQTT_TOPICS[NAME]
PERSONAL: frozenset[str] = frozenset()
TIME_MAY_BE_MISSING = False

_TOPIC = re.compile(rf"citytally/v1/({'|'.join(CHANNELS)})/({DEVICE_ID.pattern})")
_KINDS = {f"citytally/v1/{kind}/".encode(): kind for kind in CHANNELS}
_OWN_FIELDS = frozenset({"time", "part", "interval_s", "device_id"})
_REMEMBERED_TOPICS = 100_000


@dataclass(frozen=True, slots=True)
class _Address:
    """What a topic says of its messages."""

    kind: str
    device_id: str
    channels: dict[str, Channel]
    texts: dict[str, Text]


@lru_cache(maxsize=_REMEMBERED_TOPICS)
def _address(topic: str) -> _Address | None:
    match = _TOPIC.fullmatch(topic)
    if match is None:
        return None
    kind, device_id = match.groups()
    return _Address(kind, device_id, CHANNELS[kind], TEXTS[kind])


def addressed(topic: bytes) -> tuple[str, bytes] | None:
    """Return the kind and the device that a topic names, None where it is no topic of ours.

    The device's id is as it came: whoever finds it registered knows that it is valid.
    """
    start, slash, device_id = topic.rpartition(b"/")
    kind = _KINDS.get(start + slash)
    return None if kind is None else (kind, device_id)


def claims(topic: str) -> bool:
    """Whether the topic is ``citytally/v1/<kind>/<device_id>`` with a known kind and a valid id."""
    return _address(topic) is not None


def decode(message: Message, _facts: Facts) -> Decoded | Undecodable | None:
    """Read a message: one reading an object, sound or refused with its place."""
    address = _address(message.topic)
    if address is None:
        return None
    content = parse(message.payload)
    if type(content) is dict:
        return Decoded(NAME, [_read(content, address, 0, "")])
    if type(content) is list:
        return Decoded(NAME, [_element(item, address, i) for i, item in enumerate(content)])
    if type(content) is not Refusal:
        detail = f"neither an object nor an array of objects, but {shown(content)}"
        content = malformed(detail, first_byte(message.payload))
    return Undecodable(NAME, content)


def _element(item: object, address: _Address, position: int) -> Reading:
    if type(item) is dict:
        return _read(item, address, position, f"[{position}].")
    reading = _blank(address, position)
    _refuse(reading, f"[{position}]", f"an object is expected, not {shown(item)}")
    return reading


def _blank(address: _Address, position: int) -> Reading:
    return Reading(
        kind=address.kind,
        device_id=address.device_id,
        part="",
        time=None,
        time_source="device",
        interval_s=None,
        values={},
        texts={},
        flags=None,
        extra=None,
        position=position,
    )


def _read(fields: dict[str, Any], address: _Address, position: int, where: str) -> Reading:
    reading = _blank(address, position)
    _read_time(reading, fields.get("time"), f"{where}time")
    if "device_id" in fields:
        _compare_device(reading, fields["device_id"], f"{where}device_id")
    if "part" in fields:
        _read_part(reading, fields["part"], f"{where}part")
    if "interval_s" in fields:
        _read_interval(reading, fields["interval_s"], f"{where}interval_s")
    if "simulated" in fields:
        _check_simulated(reading, fields["simulated"], f"{where}simulated")
    channels, values = address.channels, reading.values
    for name, value in fields.items():
        if name in channels:
            if type(value) is float and isfinite(value):
                values[name] = value
            else:
                _read_channel(reading, name, value, where + name)
        elif name not in _OWN_FIELDS:
            _read_other(reading, address.texts.get(name), name, value, where)
    return reading


def _read_time(reading: Reading, value: object, path: str) -> None:
    try:
        if type(value) is str:
            reading.time = parse_rfc3339(value)
        elif type(value) is int or type(value) is float:
            reading.time = from_epoch_ms(value)
        elif value is None:
            detail = "no time: this convention does not take the time of receipt instead"
            _refuse(reading, path, detail, Reason.NO_TIME)
        else:
            _refuse(reading, path, f"a time is expected, not {shown(value)}")
    except TimeError as error:
        _refuse(reading, path, f"{error}; got {shown(value)}")


def _compare_device(reading: Reading, value: object, path: str) -> None:
    if value is None or value == reading.device_id:
        return
    if type(value) is not str:
        _refuse(reading, path, f"a text is expected, not {shown(value)}")
        return
    detail = f"the topic says {reading.device_id}, the payload {shown(value)}"
    _refuse(reading, path, detail, Reason.WRONG_DEVICE)


def _read_part(reading: Reading, value: object, path: str) -> None:
    if type(value) is str:
        reading.part = value
    elif value is not None:
        _refuse(reading, path, f"a text is expected, not {shown(value)}")


def _read_interval(reading: Reading, value: object, path: str) -> None:
    number = _finite(value)
    if number is not None and number >= 0:
        reading.interval_s = number
    elif value is not None:
        _refuse(reading, path, f"a length in seconds is expected, not {shown(value)}")


def _check_simulated(reading: Reading, value: object, path: str) -> None:
    # Kept in extra like any field that is no column; only its type is ours to judge.
    if value is not None and type(value) is not bool:
        _refuse(reading, path, f"true or false is expected, not {shown(value)}")


def _read_channel(reading: Reading, name: str, value: object, path: str) -> None:
    number = _finite(value)
    if number is not None:
        reading.values[name] = number
    elif value is not None:
        _refuse(reading, path, f"a finite number is expected, not {shown(value)}")


def _finite(value: object) -> float | None:
    """Return a JSON number as a float; None for anything else and for what no float can hold."""
    if type(value) is not float and type(value) is not int:
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None


def _read_other(reading: Reading, text: Text | None, name: str, value: object, where: str) -> None:
    if value is None:
        return
    if text is None:
        if reading.extra is None:
            reading.extra = {}
        reading.extra[name] = _storable(value)
    elif type(value) is not str:
        _refuse(reading, where + name, f"a text is expected, not {shown(value)}")
    elif text.choices and value not in text.choices:
        expected = ", ".join(text.choices)
        _refuse(reading, where + name, f"one of {expected} is expected, not {shown(value)}")
    else:
        reading.texts[name] = value


def _storable(value: object) -> object:
    """Return an unknown value with NaN and infinities as texts: JSON has no numbers for them.

    Recursion is bounded, since parsing refuses what is nested deeper than 200.
    """
    if isinstance(value, float) and not isfinite(value):
        return shown(value)
    if isinstance(value, dict):
        return {name: _storable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_storable(element) for element in value]
    return value


def _refuse(reading: Reading, path: str, detail: str, reason: Reason = Reason.SCHEMA) -> None:
    # The first thing found wrong stands; what follows is still read, for a person to look at.
    if reading.refusal is None:
        reading.refusal = Refusal(reason, detail, path)
