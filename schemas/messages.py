"""The doors of decoding: a message comes in, what it says goes out. Data, never exceptions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class Message:
    """One Kafka record as decoding sees it.

    ``oversize`` and ``refused`` come from the gateway's headers: the record is empty then, and the
    text says what was withheld. ``received_at`` is Kafka's append time (UTC), None where nobody
    knows it (``citytally check`` without ``--received-at``).
    """

    topic: str
    payload: bytes
    received_at: datetime | None = None
    offset: int = 0
    oversize: str | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a reading or a message was refused, and where.

    ``path`` is a JSON path without a leading ``$`` (``pm2_5_ugm3``, ``[3].time``), ``position`` the
    byte at which a malformed payload stops making sense, ``detail`` a sentence for a person.
    """

    reason: Reason
    detail: str
    path: str | None = None
    position: int | None = None


@dataclass(slots=True)
class Reading:
    """What one device (part) measured at one time, or why that could not be read.

    ``time`` is the start of what the values cover (UTC, aware), ``interval_s`` its length, None
    for an instant. ``values`` and ``texts`` hold channels by name, absent means not measured;
    ``flags`` holds ``{channel: {"flag": 3 | 4, "why", "original", "original_unit"}}`` and is None
    where there is nothing to say, as is ``extra``. ``position`` is the index within the message.
    A refused reading carries what could still be read, for a person to look at.
    """

    kind: str
    device_id: str
    part: str
    time: datetime | None
    time_source: str
    interval_s: float | None
    values: dict[str, float]
    texts: dict[str, str]
    flags: dict[str, dict[str, Any]] | None
    extra: dict[str, Any] | None
    position: int = 0
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message understood: zero or more readings, each sound or refused."""

    convention: str
    readings: list[Reading]


@dataclass(frozen=True, slots=True)
class Liveness:
    """A sign of life that is no reading: join, status, heartbeat."""

    convention: str
    device_id: str
    health: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A message that no convention could read."""

    convention: str | None
    refusal: Refusal


Result = Decoded | Liveness | Undecodable
