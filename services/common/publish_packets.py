"""The six MQTT 5 packets that a QoS 1 publisher sends and reads: bytes in, values out, no I/O."""

from collections.abc import Iterator
from dataclasses import dataclass

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PACKET_IDS = 65_535
DISCONNECT = b"\xe0\x00"
_CONNACK, _PUBACK, _DISCONNECTED = 0x20, 0x40, 0xE0
_CLEAN_START, _HAS_PASSWORD, _HAS_USER = 0x02, 0x40, 0x80
_FIRST_ERROR, _NO_SUBSCRIBER = 0x80, 0x10
_SHORT_PUBACK = 2
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Accepted:
    """CONNACK: the connection stands; at most ``receive_maximum`` messages may wait for PUBACK."""

    receive_maximum: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """PUBACK of one message with the broker's reason code."""

    packet_id: int
    code: int

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


def publish(packet_id: int, topic: bytes, payload: bytes) -> bytes:
    """Return a PUBLISH with QoS 1, not retained, without properties."""
    size = len(topic)
    return b"".join(
        (
            b"\x32",
            _length(size + 5 + len(payload)),
            size.to_bytes(2, "big"),
            topic,
            packet_id.to_bytes(2, "big"),
            b"\x00",
            payload,
        )
    )


class PacketReader:
    """Cuts a byte stream into packets, however it was split on its way."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> Iterator[Packet]:
        """Yield each packet that is complete now. Raises MalformedPacketError."""
        data, start = self._rest + data, 0
        while (place := _body(data, start)) is not None:
            begin, end = place
            packet = _packet(data[start] & 0xF0, data[begin:end])
            start = end
            if packet is not None:
                yield packet
        self._rest = data[start:]


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
