"""Decode one message exactly as production would, and say what would become of it. Writes nothing.

The shape of the answer is a contract: programs outside read it.
"""

from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from schemas import registry
from schemas.messages import Decoded, Liveness, Message, Reading, Refusal, Result
from services.decoding.detect import decode
from services.decoding.judging import FUTURE_TOLERANCE, Device, judge
from services.decoding.times import format_utc

_REGISTRY_ROW = TypeAdapter(registry.Device)

SOUND, REFUSED = 0, 1


def check(  # noqa: PLR0913 # each is a fact that production would have
    topic: str,
    payload: bytes,
    *,
    device: Device | None = None,
    received_at: datetime | None = None,
    zone: str = "UTC",
    message_bytes: int | None = None,
    future_tolerance: timedelta = FUTURE_TOLERANCE,
) -> dict[str, Any]:
    """Return what a message says and why it would be refused, as ``citytally check --json`` does.

    Without a device it decodes as if the message's device were registered as ``generic`` in
    ``zone``; with one, any other device is unknown. Lateness needs the device, the future needs
    ``received_at``. A payload longer than ``message_bytes`` is what the gateway would make of it.
    """
    message = _as_forwarded(topic, payload, received_at, message_bytes)
    return check_message(message, device=device, zone=zone, future_tolerance=future_tolerance)


def check_message(
    message: Message,
    *,
    device: Device | None = None,
    zone: str = "UTC",
    future_tolerance: timedelta = FUTURE_TOLERANCE,
) -> dict[str, Any]:
    """Return the same of a message as the gateway forwarded it, headers included."""
    result = decode(message)
    if isinstance(result, Decoded):
        for reading in result.readings:
            row = device or Device(reading.device_id, zone=zone)
            known = row if row.device_id == reading.device_id else None
            judge(reading, known, message.received_at, future_tolerance)
    return _message(result)


def exit_code(result: dict[str, Any]) -> int:
    """Return 1 if the message or any of its readings carries a reason, else 0."""
    reasons = [result["reason"], *(reading["reason"] for reading in result["readings"])]
    return SOUND if all(reason is None for reason in reasons) else REFUSED


def device_of_row(row: bytes, zone: str) -> Device:
    """Return what judging knows of a device from its registry row as JSON; other fields may stand.

    Raises:
        ValueError: no JSON object, or not a device that the registry takes; says why.
    """
    device = _REGISTRY_ROW.validate_json(row)
    registry.check(device)
    return Device(device.device_id, device.device_type, device.data_from, zone)


def _as_forwarded(
    topic: str, payload: bytes, received_at: datetime | None, message_bytes: int | None
) -> Message:
    if message_bytes is not None and len(payload) > message_bytes:
        oversize = f"{len(payload)} bytes, at most {message_bytes} are forwarded"
        return Message(topic, b"", received_at, oversize=oversize)
    return Message(topic, payload, received_at)


def _message(result: Result) -> dict[str, Any]:
    readings = result.readings if isinstance(result, Decoded) else []
    health = dict(result.health) if isinstance(result, Liveness) else {}
    refusal = None if isinstance(result, Decoded | Liveness) else result.refusal
    return {
        "convention": result.convention,
        "outcome": _outcome(result),
        **_refusal(refusal),
        "position": refusal.position if refusal else None,
        "health": health,
        "readings": [_reading(reading) for reading in readings],
    }


def _outcome(result: Result) -> str:
    if isinstance(result, Decoded):
        return "readings"
    return "liveness" if isinstance(result, Liveness) else "quarantined"


def _reading(reading: Reading) -> dict[str, Any]:
    return {
        "kind": reading.kind,
        "device_id": reading.device_id,
        "part": reading.part,
        "time": format_utc(reading.time) if reading.time else None,
        "time_source": reading.time_source,
        "interval_s": reading.interval_s,
        "values": reading.values,
        "texts": reading.texts,
        "flags": reading.flags or {},
        "extra": reading.extra or {},
        **_refusal(reading.refusal),
    }


def _refusal(refusal: Refusal | None) -> dict[str, Any]:
    return {
        "reason": refusal.reason.value if refusal else None,
        "detail": refusal.detail if refusal else None,
        "path": refusal.path if refusal else None,
    }
