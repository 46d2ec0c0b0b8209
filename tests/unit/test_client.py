"""Our client hands on what stock paho does, over the same bytes, however they are cut."""

import struct
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from services.gateway.client import PublishClient
from services.gateway.messages import Message, flags_of

ClientT = TypeVar("ClientT", bound=Client)
Event = tuple[Any, ...]


class Wire:
    """A socket that gives bytes in the given pieces and keeps what is sent."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]
        self.sent: list[bytes] = []
        self.closed = False

    def recv(self, size: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        piece = self.pieces.pop(0)
        if piece[size:]:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def send(self, data: bytes) -> int:
        self.sent.append(bytes(data))
        return len(data)

    def close(self) -> None:
        self.closed = True

    def fileno(self) -> int:
        return -1


def client_on(kind: type[ClientT], wire: Wire, events: list[Event]) -> ClientT:
    client = kind(CallbackAPIVersion.VERSION2, client_id="x", protocol=MQTTv5, manual_ack=True)
    client._sock = cast("Any", wire)
    client.on_socket_register_write = lambda *_: None
    client.on_connect = lambda _c, _u, flags, code, _p: events.append(
        ("connect", flags.session_present, str(code))
    )
    client.on_subscribe = lambda _c, _u, mid, codes, _p: events.append(
        ("subscribe", mid, [str(code) for code in codes])
    )
    client.on_disconnect = lambda _c, _u, _f, code, _p: events.append(("disconnect", str(code)))

    def on_message(_client: Client, _userdata: object, message: MQTTMessage) -> None:
        flags = flags_of(message.qos, retain=message.retain, duplicate=message.dup)
        events.append((message._topic, bytes(message.payload), message.mid, flags))

    client.on_message = on_message
    return client


def stock(pieces: Iterable[bytes]) -> tuple[list[Event], bool]:
    events: list[Event] = []
    wire = Wire(pieces)
    client = client_on(Client, wire, events)
    while wire.pieces and client._sock is not None and client.loop_read() == 0:
        pass
    return events, wire.closed


def ours(
    pieces: Iterable[bytes], room: Callable[[list[Event]], int] = lambda _events: 10**6
) -> tuple[list[Event], bool]:
    events: list[Event] = []
    wire = Wire(pieces)
    client = client_on(PublishClient, wire, events)

    def on_publishes(messages: list[Message]) -> None:
        events.extend((t, p, int.from_bytes(mid), flags) for t, p, mid, flags, _ in messages)

    client.on_publishes = on_publishes
    client.room = lambda: room(events)
    while (wire.pieces or client.holds_bytes) and client._sock is not None:
        before = (len(wire.pieces), len(events), len(client._unparsed))
        if client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            break
        if before == (len(wire.pieces), len(events), len(client._unparsed)):
            break  # an unfinished packet, and nothing more to come
    return events, wire.closed


def packet(first: int, body: bytes) -> bytes:
    length, encoded = len(body), b""
    while True:
        low, length = length & 0x7F, length >> 7
        encoded += bytes([low | (0x80 if length else 0)])
        if not length:
            return bytes([first]) + encoded + body


def publish(
    topic: bytes, payload: bytes, *, qos: int = 1, flags: int = 0, properties: bytes = b"",
    packet_id: int = 7,
) -> bytes:  # fmt: skip
    identity = struct.pack("!H", packet_id) if qos else b""
    body = struct.pack("!H", len(topic)) + topic + identity
    return packet(0x30 | flags | qos << 1, body + bytes([len(properties)]) + properties + payload)


CONNACK = packet(0x20, b"\x01\x00\x00")
CONNACK_WITH_PROPERTIES = packet(0x20, b"\x00\x00\x03\x21\x00\x14")
SUBACK = packet(0x90, b"\x00\x01\x00\x01")
PING = packet(0xD0, b"")
PUBACK = packet(0x40, b"\x00\x09")
DISCONNECT = packet(0xE0, b"\x8e\x00")
EXPIRING = publish(b"a/b", b"{}", properties=b"\x02\x00\x00\x00\x3c")
STREAMS = {
    "a session begins": CONNACK + SUBACK + publish(b"a/b", b"1"),
    "every flag": b"".join(publish(b"t", b"p", flags=flags) for flags in (0, 1, 8, 9)),
    "all of QoS 0 and 1": publish(b"t", b"", qos=0)
    + publish(b"t", b"x" * 300)
    + publish(b"", b"y"),
    "other packets between": publish(b"t", b"1") + PING + publish(b"t", b"2", packet_id=8) + PUBACK,
    "properties": EXPIRING + publish(b"t", b"1") + CONNACK_WITH_PROPERTIES,
    "QoS 2": publish(b"t", b"two", qos=2) + publish(b"t", b"1"),
    "the broker says goodbye": publish(b"t", b"1") + DISCONNECT + publish(b"t", b"2"),
    "an unknown packet": publish(b"t", b"1") + packet(0xF0, b"") + publish(b"t", b"2"),
    "a length of five bytes": publish(b"t", b"1") + b"\x30\xff\xff\xff\xff\x01",
    "a packet id that is not there": packet(0x32, b"\x00\x01t\x00") + publish(b"t", b"1"),
    "a topic longer than its packet": packet(0x32, b"\x00\x09t\x00\x01\x00") + publish(b"t", b"1"),
    "an empty packet": publish(b"t", b"1") + packet(0x32, b"") + publish(b"t", b"2"),
    "binary": publish("đ/ô".encode(), bytes(range(256))),
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_cut_at_every_boundary_it_does_what_paho_does(stream: bytes) -> None:
    expected = stock([stream])

    for at in range(len(stream) + 1):
        assert ours([stream[:at], stream[at:]]) == expected
    assert ours([stream[i : i + 1] for i in range(len(stream))]) == expected


@pytest.mark.parametrize("length", [126, 127, 128, 129, 16_382, 16_383, 16_384, 16_385])
def test_lengths_of_one_byte_and_two_and_three(length: int) -> None:
    around = publish(b"t", b"before"), publish(b"t", b"after")
    packet = publish(b"t", b"x" * (length - 6))
    stream = around[0] + packet + around[1]

    expected = stock([stream])

    assert len(expected[0]) == 3
    for at in (0, *range(len(around[0]), len(around[0]) + 6), len(stream) - len(around[1])):
        assert ours([stream[:at], stream[at:]]) == expected


@pytest.mark.parametrize("room", [1, 2])
def test_with_little_room_the_rest_waits_and_nothing_is_lost(room: int) -> None:
    stream = b"".join(publish(b"t", b"%d" % n, packet_id=n + 1) for n in range(9)) + PING

    events, _ = ours([stream], room=lambda _events: room)

    assert [event[1] for event in events] == [b"%d" % n for n in range(9)]


def test_without_room_nothing_is_read() -> None:
    events, _ = ours([publish(b"t", b"1")], room=lambda _events: 0)

    assert events == []


topics = some.binary(max_size=4).filter(lambda topic: b"\0" not in topic)
publishes = some.builds(
    publish, topics, some.binary(max_size=400), qos=some.sampled_from([0, 1]),
    flags=some.sampled_from([0, 1, 8, 9]), packet_id=some.integers(1, 65535),
    properties=some.sampled_from([b"", b"\x02\x00\x00\x00\x3c", b"\x01\x01"]),
)  # fmt: skip
streams = some.lists(some.one_of(publishes, some.sampled_from([PING, PUBACK, SUBACK])), max_size=8)


@settings(max_examples=200, deadline=None)
@given(streams, some.data())
def test_any_stream_cut_anywhere(packets: list[bytes], data: some.DataObject) -> None:
    stream = b"".join(packets)
    cuts = sorted(data.draw(some.sets(some.integers(0, len(stream)), max_size=6)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]

    assert ours(pieces) == stock([stream])


def test_many_acknowledgements_are_one_write_of_what_paho_would_send_singly() -> None:
    one, many = Wire([]), Wire([])
    stock_client, client = client_on(Client, one, []), client_on(PublishClient, many, [])

    for packet_id in (7, 5, 65535):
        stock_client.ack(packet_id, 1)
    stock_client.loop_write()
    client.acknowledge([b"\0\7", b"\0\5", b"\xff\xff"])
    client.loop_write()

    assert len(many.sent) == 1
    assert b"".join(many.sent) == b"".join(one.sent)
