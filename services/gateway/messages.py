"""What the gateway carries: a message as it arrived, and the chunk it travels in."""

from collections.abc import Sequence
from dataclasses import dataclass, field

Header = tuple[str, bytes]

_RETAIN, _DUPLICATE = 0b0100, 0b1000
QOS = 0b0011
"""The part of a message's flags that is the QoS it was delivered with; 0 wants no answer."""
FLAG_COMBINATIONS = 16


def flags_of(qos: int, *, retain: bool, duplicate: bool) -> int:
    """Return the three flags of an MQTT message as one small number."""
    return qos | (_RETAIN if retain else 0) | (_DUPLICATE if duplicate else 0)


def is_marked_duplicate(flags: int) -> bool:
    """Whether the broker says that it sent the message before."""
    return bool(flags & _DUPLICATE)


Message = tuple[bytes, bytes, int, int, Header | None]
"""One MQTT message: topic, payload, packet id, flags, and the header that says why its payload was
left out, if it was. Made once a message, where a tuple without names takes a quarter less time."""


@dataclass(slots=True)
class Chunk:
    """Messages of one connection that go to Kafka, and are acknowledged, together.

    ``generation`` is the connection they came on, ``gateway_time_ms`` this machine's clock when
    the first one came (epoch milliseconds), ``size`` their bytes.
    """

    generation: int
    gateway_time_ms: int
    messages: list[Message] = field(default_factory=list)
    size: int = 0

    def add(self, messages: Sequence[Message]) -> int:
        """Take more messages and return their bytes."""
        self.messages += messages
        size = sum([len(topic) + len(payload) for topic, payload, _, _, _ in messages])
        self.size += size
        return size


def flag_headers(flags: int) -> list[Header]:
    """Return the record headers that tell a message's flags."""
    return [
        ("qos", b"%d" % (flags & QOS)),
        ("retain", b"1" if flags & _RETAIN else b"0"),
        ("dup", b"1" if flags & _DUPLICATE else b"0"),
    ]
