"""Messages that no well-meaning device sends, each with what must become of it."""

import json
from dataclasses import dataclass, field

NATIVE = "citytally/v1/environmental/"
TIME = "2026-01-22T07:06:25Z"


@dataclass(frozen=True)
class Hostile:
    """A payload, and the reason (None: stored), place and words of its refusal."""

    name: str
    payload: bytes
    reason: str | None
    path: str | None = None
    byte: int | None = None
    says: str = ""
    topic: str = field(default="")

    @property
    def device_id(self) -> str:
        return f"hostile-{self.name}"

    @property
    def message(self) -> tuple[str, bytes]:
        return self.topic or f"{NATIVE}{self.device_id}", self.payload


def reading(fields: str) -> bytes:
    """A reading whose other fields are written exactly so."""
    return f'{{"time": "{TIME}", {fields}}}'.encode()


def _schema(name: str, fields: str, path: str, says: str) -> Hostile:
    return Hostile(name, reading(fields), "schema", path, says=says)


def _malformed(name: str, payload: bytes, byte: int, says: str) -> Hostile:
    return Hostile(name, payload, "malformed", byte=byte, says=says)


def _elsewhere(name: str, topic: str) -> Hostile:
    payload = reading('"co2_ppm": 400')
    return Hostile(name, payload, "unknown_topic", says="no convention reads", topic=topic)


HUGE = "9" * 400
NOT_UTF8 = reading('"part": "é"').decode().encode("latin-1")
SURROGATE = reading(r'"part": "\ud800"')

HOSTILE = (
    _malformed("empty", b"", 0, "ends while parsing a value"),
    _malformed("binary", bytes(range(256)), 0, "not JSON"),
    _malformed("nul-bytes", b"\0" * 64, 0, "not JSON"),
    _malformed("torn", reading('"co2_ppm": 40')[:-1], 46, "ends while parsing an object"),
    _malformed("deep-arrays", b"[" * 100_000, 201, "recursion limit"),
    _malformed("deep-objects", b'{"a":' * 50_000, 1_005, "recursion limit"),
    _malformed("invalid-utf-8", NOT_UTF8, NOT_UTF8.index(b"\xe9"), "invalid UTF-8"),
    _malformed("lone-surrogate", SURROGATE, SURROGATE.index(b"800") + 3, "surrogate"),
    _malformed("number", b"42", 0, "neither an object nor an array"),
    _malformed("text", b' "hello"', 1, "neither an object nor an array"),
    _schema("nan", '"co2_ppm": NaN', "co2_ppm", "not NaN"),
    _schema("infinity", '"co2_ppm": -Infinity', "co2_ppm", "not -Infinity"),
    _schema("huge-integer", f'"co2_ppm": {HUGE}', "co2_ppm", "finite number"),
    _schema("overflow", '"co2_ppm": 1e999', "co2_ppm", "finite number"),
    _schema("text-for-number", '"co2_ppm": "400"', "co2_ppm", 'the text "400"'),
    _schema("boolean", '"co2_ppm": true', "co2_ppm", "not true"),
    _schema("object", '"co2_ppm": {"value": 400}', "co2_ppm", "an object of 1 members"),
    _schema("part-number", '"part": 7', "part", "a text is expected"),
    Hostile("naive", b'{"time": "2026-01-22T07:06:25"}', "schema", "time", says="without zone"),
    Hostile("no-time", b'{"co2_ppm": 400}', "no_time", "time", says="no time"),
    Hostile("element", b"[[]]", "schema", "[0]", says="an array of 0 elements"),
    Hostile(
        "other-device", reading('"device_id": "healthy-0"'), "wrong_device", "device_id",
        says='the payload the text "healthy-0"',
    ),
    Hostile("nul-in-text", reading(r'"part": "\u0000"'), "rejected_by_database", says="0x00"),
    Hostile("nul-in-extra", reading(r'"x": "\u0000"'), "rejected_by_database", says="\\u0000"),
    Hostile(
        "ten-megabytes", reading(f'"x": "{"x" * 10_000_000}"'), "too_large", says="10000041 bytes"
    ),
    _elsewhere("kind", "citytally/v1/weather/hostile-kind"),
    _elsewhere("deeper", "citytally/v1/environmental/hostile-deeper/co2"),
    _elsewhere("no-device", "citytally/v1/environmental/"),
    _elsewhere("bad-device", "citytally/v1/environmental/-é \U0001f4a9"),
    _elsewhere("version", "citytally/v1"),
    Hostile("nobody", reading('"co2_ppm": 400'), "unknown_device", says="is not registered"),
    # Odd, and sound by the convention's rules.
    Hostile("duplicate-key", reading('"co2_ppm": 1, "co2_ppm": 500'), None),
    Hostile("no-channels", reading('"x": null'), None),
    Hostile("extra-nan", reading('"x": [NaN, {"y": Infinity}]'), None),
    Hostile("extra-huge", reading(f'"x": {HUGE}'), None),
    Hostile("unicode", json.dumps({"time": TIME, "🙈": "\u202e\ufeff"}).encode(), None),
)  # fmt: skip
