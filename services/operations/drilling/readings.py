"""What a drill sends: readings that know which row they must become, and messages to be refused."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from schemas.reasons import Reason

DEVICES = 50
FLOOD = "drill-flood"
"""The device that sends nothing but garbage."""
STRANGER = "drill-nobody"
"""A device that is never registered."""

Message = tuple[str, bytes]


class Row(NamedTuple):
    """A reading as it must stand in the table: identity and value."""

    device_id: str
    time: datetime
    value: float


class Refusal(NamedTuple):
    """A message as it must stand in quarantine: the bytes that Kafka has of it, and the reason."""

    payload: bytes
    reason: str


class Sent(NamedTuple):
    """A message, and what must become of it."""

    becomes: Row | Refusal
    message: Message


def topic(device_id: str) -> str:
    """Return the topic on which a device publishes."""
    return f"citytally/v1/environmental/{device_id}"


def device_id(number: int) -> str:
    """Return the device that sends the reading of a number."""
    return f"drill-{number % DEVICES:02}"


def device_ids() -> list[str]:
    """Return all devices that are registered."""
    return [*map(device_id, range(DEVICES)), FLOOD]


@dataclass(frozen=True, slots=True)
class Readings:
    """Numbered readings, each with an identity of its own, from ``start`` on."""

    start: datetime

    def row(self, number: int) -> Row:
        """Return the row that the reading of a number becomes."""
        time = self.start + timedelta(seconds=number // DEVICES)
        return Row(device_id(number), time, 400.0 + number % 997)

    def sent(self, number: int) -> Sent:
        """Return the reading of a number as a message."""
        return as_message(self.row(number))


def two_days_ago() -> datetime:
    """Return a start that leaves room for a drill's readings before now."""
    return (datetime.now(UTC) - timedelta(days=2)).replace(microsecond=0)


def as_message(row: Row) -> Sent:
    """Return the message that becomes a row."""
    return Sent(row, (topic(row.device_id), reading(time=row.time.isoformat(), co2_ppm=row.value)))


def reading(**fields: object) -> bytes:
    """Return a payload of these fields."""
    return json.dumps(fields).encode()


def refused(reason: Reason, payload: bytes, device: str = "drill-00") -> Sent:
    """Return a message that must be refused for that reason."""
    return Sent(Refusal(payload, reason.value), (topic(device), payload))


def torn(number: int, device: str = "drill-00") -> Sent:
    """Return a message that is no JSON."""
    return refused(Reason.MALFORMED, b'{"time": torn %d' % number, device)


def poisoned(number: int, row: Row) -> Sent:
    """Return a reading that decodes and that PostgreSQL refuses: it holds a NUL."""
    part = f"{number}\0"
    payload = reading(time=row.time.isoformat(), part=part, co2_ppm=row.value)
    return refused(Reason.REJECTED_BY_DATABASE, payload, row.device_id)


def bad_of_each_kind(number: int, row: Row) -> list[Sent]:
    """Return messages that contradict a row that is there, or the rules, each in its own way."""
    time, device = row.time.isoformat(), row.device_id
    wrong = {
        Reason.SCHEMA: reading(time=time, part=f"{number}", co2_ppm="400"),
        Reason.NO_TIME: reading(co2_ppm=number),
        Reason.WRONG_DEVICE: reading(time=time, device_id=f"other-{number}", co2_ppm=1),
        Reason.CONFLICT: reading(time=time, co2_ppm=row.value + 1),
    }
    return [
        torn(number, device),
        *[refused(reason, payload, device) for reason, payload in wrong.items()],
        refused(Reason.UNKNOWN_DEVICE, reading(time=time, co2_ppm=number), STRANGER),
        poisoned(number, row),
    ]
