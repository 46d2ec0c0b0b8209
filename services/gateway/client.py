"""paho's client with two short cuts: many PUBLISH packets a socket read, many PUBACKs a write.

As it comes, paho reads a packet byte by byte and makes an object of each, at some 30 µs a message.
Here the socket is read in large pieces. PUBLISH packets of QoS 0 and 1 without properties are cut
out of them; every other packet is handed to paho's own code, whole and in its turn. Connections,
sessions, subscriptions and errors so remain paho's. A conformance test holds both to the same
callbacks over recorded byte streams, split at every boundary.
"""

from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

from services.gateway.messages import Message, flags_of

READ_BYTES = 256 * 1024
LENGTH_BYTES = 4
"""A packet's length takes as many bytes at most; paho calls a longer one an error of protocol."""

_PUBLISH, _PUBACK = 0x30, 0x40
_PUBACK_HEAD = bytes([_PUBACK, 2])
_QOS_2 = 0b100
_PUBLISH_QOS_1, _KIND_AND_QOS = 0x32, 0xF6
_SMALLEST = 5
"""Bytes that a packet has at least if it may be read to the end of its topic's length."""
_FLAGS = [
    flags_of(low >> 1 & 3, retain=bool(low & 1), duplicate=bool(low & 8)) for low in range(16)
]


class PublishClient(Client):
    """Hands messages on in lists, in the order in which they came.

    ``on_publishes`` gets what one read has brought; ``room`` says how many messages may be taken
    now: what is more stays unread, or as bytes in our hand until ``loop_read`` is called again.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 -- paho's own
        super().__init__(*arguments, **options)
        self.on_publishes: Callable[[list[Message]], None] = lambda _messages: None
        self.room: Callable[[], int] = lambda: READ_BYTES
        self._unparsed = bytearray()
        self._needed = 0

    @property
    def holds_bytes(self) -> bool:
        """Whether bytes were read that are not parsed yet."""
        return bool(self._unparsed)

    def acknowledge(self, packet_ids: Sequence[bytes]) -> None:
        """Send the PUBACK of each packet, in this order, as one write."""
        if packet_ids:
            packets = _PUBACK_HEAD + _PUBACK_HEAD.join(packet_ids)
            self._packet_queue(_PUBACK, packets, int.from_bytes(packet_ids[-1]), 1)

    def connection_ended(self) -> None:
        """Tell paho that the connection is gone."""
        self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)

    def reconnect(self) -> MQTTErrorCode:
        """Forget what the former connection left unparsed, then connect as paho does."""
        self._unparsed.clear()
        self._needed = 0
        return super().reconnect()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Take what was left, then read the socket once, as far as there is room."""
        del max_packets  # how much is read, the room decides
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        result = self._parse()
        while result == MQTTErrorCode.MQTT_ERR_SUCCESS and self._sock is not None:
            if self.room() <= 0 or not self._receive():
                break
            result = self._parse()
            if not self._has_pending():
                break
        return self._loop_rc_handle(result) if result > 0 else result

    def _receive(self) -> bool:
        """Read the socket once; False when nothing was there. A lost connection is reported."""
        try:
            data = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.connection_ended()
            return False
        self._unparsed += data
        return True

    def _has_pending(self) -> bool:
        """Whether TLS holds decrypted bytes that no readiness of the socket will announce."""
        pending = getattr(self._sock, "pending", None)
        return pending is not None and pending() > 0

    def _parse(self) -> MQTTErrorCode:
        """Take complete packets off the bytes in hand, as many as there is room for.

        While a packet is not all there, nothing is copied or looked at again: one of megabytes
        comes in many pieces.
        """
        if len(self._unparsed) < self._needed:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        self._needed = 0
        data, position, room = bytes(self._unparsed), 0, self.room()
        messages: list[Message] = []
        result = MQTTErrorCode.MQTT_ERR_SUCCESS
        while len(messages) < room:
            position = _take_plain(data, position, messages, room)
            header = None if len(messages) == room else _header(data, position)
            if header is None:
                break
            start, end = header
            if start < 0:
                result = MQTTErrorCode.MQTT_ERR_PROTOCOL
                break
            if end > len(data):
                self._needed = end - position
                break
            message = _publish(data, data[position], start, end)
            if message is not None:
                messages.append(message)
            else:
                self._hand_on(messages)
                messages, room = [], self.room()
                result = self._leave_to_paho(data[position], data[start:end])
            position = end
            if result > 0 or self._sock is None:
                break
        self._hand_on(messages)
        del self._unparsed[:position]
        return result

    def _hand_on(self, messages: list[Message]) -> None:
        if messages:
            self.on_publishes(messages)

    def _leave_to_paho(self, command: int, body: bytes) -> MQTTErrorCode:
        """Let paho's own code handle one packet, as if it had read it."""
        packet = self._in_packet
        packet["command"], packet["packet"] = command, bytearray(body)
        packet["remaining_length"], packet["have_remaining"] = len(body), 1
        return self._handle_whole_packet()

    def _handle_whole_packet(self) -> MQTTErrorCode:
        # With nothing left to receive, paho's reader only handles the packet and starts afresh.
        self._in_packet["to_process"] = 0
        return self._packet_read()


def _take_plain(data: bytes, position: int, messages: list[Message], room: int) -> int:
    """Append the plain PUBLISH packets that come next, while there is room; return where they end.

    Plain is what nearly all are: QoS 1, a length of one or two bytes, no properties. It is a short
    cut through ``_header`` and ``_publish``: what either would not take is left to them.
    """
    append, size = messages.append, len(data)
    for _ in range(room - len(messages)):
        if position + _SMALLEST > size or data[position] & _KIND_AND_QOS != _PUBLISH_QOS_1:
            break
        end = data[position + 1]
        if end < 0x80:  # noqa: PLR2004 -- the bit that says "more"
            start = position + 2
            end += start
        else:
            high = data[position + 2]
            if high > 0x7F:  # noqa: PLR2004 -- likewise
                break
            start = position + 3
            end += (high << 7) - 0x80 + start
        if end > size:
            break
        id_at = start + 2 + (data[start] << 8 | data[start + 1])
        after_id = id_at + 2
        if after_id >= end or data[after_id]:
            break
        topic, packet_id = data[start + 2 : id_at], data[id_at:after_id]
        flags = _FLAGS[data[position] & 0x0F]
        append((topic, data[after_id + 1 : end], packet_id, flags, None))
        position = end
    return position


def _header(data: bytes, position: int) -> tuple[int, int] | None:
    """Return where a packet's body starts and ends; None while its length is not all there.

    A start of -1 stands for a length of more bytes than MQTT allows.
    """
    length = shift = 0
    for at in range(position + 1, min(position + 1 + LENGTH_BYTES, len(data))):
        byte = data[at]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 -- the bit that says "more"
            return at + 1, at + 1 + length
        shift += 7
    return (-1, -1) if shift == 7 * LENGTH_BYTES else None


def _publish(data: bytes, first: int, start: int, end: int) -> Message | None:
    """Return the message of a PUBLISH without properties; None for any other packet."""
    if first & 0xF0 != _PUBLISH or first & _QOS_2 or end - start < 3:  # noqa: PLR2004 -- topic length
        return None
    topic_end = start + 2 + (data[start] << 8 | data[start + 1])
    properties_at = topic_end + (2 if first & 0b110 else 0)
    if properties_at >= end or data[properties_at]:
        return None
    topic, packet_id = data[start + 2 : topic_end], data[topic_end:properties_at]
    return topic, data[properties_at + 1 : end], packet_id, _FLAGS[first & 0x0F], None
