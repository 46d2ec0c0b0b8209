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


Message = tuple[bytes, bytes, bytes, int, Header | None]
"""One MQTT message: topic, payload, packet id (two bytes, none with QoS 0), flags, and the header
that says why its payload was left out, if it was.

Made once a message, where a tuple without names takes a quarter less time."""


@dataclass(slots=True)
class Chunk:
    """Messages of one connection that go to Kafka, and are acknowledged, together.

    ``generation`` is the connection they came on, ``gateway_time_ms`` this machine's clock when
    the first one came (epoch milliseconds), ``flags`` those of each message, ``packet_ids`` what is
    to be acknowledged, ``size`` the bytes of all.
    """

    generation: int
    gateway_time_ms: int
    messages: list[Message] = field(default_factory=list)
    flags: bytearray = field(default_factory=bytearray)
    packet_ids: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, messages: Sequence[Message]) -> int:
        """Take more messages and return their bytes.

        What is told of them later is gathered here, while they are in the processor's cache.
        """
        self.messages += messages
        self.flags += bytes([flags for _, _, _, flags, _ in messages])
        self.packet_ids += [packet_id for _, _, packet_id, flags, _ in messages if flags & QOS]
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
