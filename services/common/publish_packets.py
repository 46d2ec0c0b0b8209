"""The six MQTT 5 packets that a QoS 1 publisher sends and reads: bytes in, values out, no I/O."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PACKET_IDS = 65_535
PUBACK_BYTES = 4
DISCONNECT = b"\xe0\x00"
_CONNACK, _PUBACK, _DISCONNECTED = 0x20, 0x40, 0xE0
_CLEAN_START, _HAS_PASSWORD, _HAS_USER = 0x02, 0x40, 0x80
_FIRST_ERROR, _NO_SUBSCRIBER = 0x80, 0x10
_SHORT_PUBACK = 2
_LENGTH_BYTES = 4
_LENGTHS_KEPT = 65_536

Message = tuple[str, bytes]
"""Topic and payload."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """CONNACK: the connection stands; at most ``receive_maximum`` messages may wait for PUBACK."""

    receive_maximum: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """PUBACKs of ``count`` packet ids in a row, all with the same reason code of the broker.

    After the highest packet id comes 1.
    """

    packet_id: int
    code: int
    count: int = 1

    @property
    def is_refused(self) -> bool:
        """Whether the broker did not take it: not allowed, over a quota."""
        return self.code >= _FIRST_ERROR

    @property
    def is_unmatched(self) -> bool:
        """Whether the broker took it and nobody had subscribed: it is gone."""
        return self.code == _NO_SUBSCRIBER


@dataclass(frozen=True, slots=True)
class Refused:
    """CONNACK or DISCONNECT with an error: the broker's reason code."""

    code: int


Packet = Accepted | Acknowledged | Refused


class MalformedPacketError(Exception):
    """The broker sent what MQTT does not allow."""


def connect(client_id: str, user: str | None, password: str | None) -> bytes:
    """Return a CONNECT of a session that ends with its connection, without keepalive."""
    flags = _CLEAN_START | (_HAS_USER if user else 0) | (_HAS_PASSWORD if password else 0)
    texts = [text for text in (client_id, user, password) if text is not None]
    body = b"\x00\x04MQTT\x05" + bytes((flags, 0, 0, 0)) + b"".join(map(_text, texts))
    return b"\x10" + _length(len(body)) + body


def publish(messages: Sequence[Message], number: int) -> bytes:
    """Return a PUBLISH with QoS 1 for each message, not retained, without properties.

    The first message has the packet id of ``number``, the next ones those of the numbers after it.
    """
    topics = [topic.encode() for topic, _ in messages]
    payloads = [payload for _, payload in messages]
    heads = map(_head, map(len, topics), map(len, payloads))
    first = number % PACKET_IDS
    ids = _encoded_ids()[first : first + len(messages)]
    return b"".join(chain.from_iterable(zip(heads, topics, ids, payloads, strict=True)))


class PacketReader:
    """Cuts a byte stream into packets, however it was split on its way.

    PUBACKs of packet ids in a row, which is what a broker sends to a busy publisher, are told as
    one, where nothing else was read with them.
    """

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> Iterator[Packet]:
        """Yield each packet that is complete now. Raises MalformedPacketError."""
        data, start = self._rest + data, 0
        if run := _run(data):
            start = run.count * PUBACK_BYTES
            yield run
        while (place := _body(data, start)) is not None:
            begin, end = place
            packet = _packet(data[start] & 0xF0, data[begin:end])
            start = end
            if packet is not None:
                yield packet
        self._rest = data[start:]


def _run(data: bytes) -> Acknowledged | None:
    """Return what several whole PUBACKs of ids in a row say; None: the data is something else."""
    count = len(data) // PUBACK_BYTES
    if count <= 1:
        return None
    first = (data[2] << 8) | data[3]
    size, begin = count * PUBACK_BYTES, (first - 1) * PUBACK_BYTES
    if not _all_pubacks().startswith(data[:size], begin):
        return None
    return Acknowledged(first, 0, count)


def _body(data: bytes, start: int) -> tuple[int, int] | None:
    """Return where the body of the packet at ``start`` begins and ends; None: not there yet."""
    length = 0
    for index in range(_LENGTH_BYTES):
        position = start + 1 + index
        if position >= len(data):
            return None
        length |= (data[position] & 0x7F) << (7 * index)
        if data[position] < 0x80:  # noqa: PLR2004 # the bit that says that another byte follows
            end = position + 1 + length
            return (position + 1, end) if end <= len(data) else None
    raise MalformedPacketError("a packet's length has more than four bytes")


def _packet(kind: int, body: bytes) -> Packet | None:
    try:
        if kind == _PUBACK:
            code = 0 if len(body) == _SHORT_PUBACK else body[2]
            return Acknowledged((body[0] << 8) | body[1], code)
        if kind == _CONNACK:
            return _connack(body)
        if kind == _DISCONNECTED:
            return Refused(body[0] if body else 0)
    except IndexError as error:
        raise MalformedPacketError(f"packet {kind:#x} is too short: {body.hex()}") from error
    return None


def _connack(body: bytes) -> Packet:
    if body[1] >= _FIRST_ERROR:
        return Refused(body[1])
    properties = Properties(PacketTypes.CONNACK)  # type: ignore[no-untyped-call] # paho's own gap
    properties.unpack(body[2:])  # type: ignore[no-untyped-call] # likewise
    return Accepted(getattr(properties, "ReceiveMaximum", PACKET_IDS))


@cache
def _all_pubacks() -> bytes:
    """Return the PUBACKs of all packet ids, twice, so that every run of them is within it."""
    first = int.from_bytes((_PUBACK, _SHORT_PUBACK, 0, 1), "big")
    return struct.pack(f">{PACKET_IDS}I", *range(first, first + PACKET_IDS)) * 2


@cache
def _encoded_ids() -> list[bytes]:
    """Return all packet ids as they stand in a PUBLISH without properties, twice, as above."""
    return [struct.pack(">HB", packet_id, 0) for packet_id in range(1, PACKET_IDS + 1)] * 2


@lru_cache(_LENGTHS_KEPT)
def _head(topic_size: int, payload_size: int) -> bytes:
    """Return what stands before a PUBLISH's topic."""
    return b"\x32" + _length(topic_size + 5 + payload_size) + topic_size.to_bytes(2, "big")


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _length(value: int) -> bytes:
    if value < 0x80:  # noqa: PLR2004 # seven bits of length in a byte
        return bytes((value,))
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 # likewise
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
