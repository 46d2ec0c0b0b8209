"""MQTT packets of the publisher, held to paho's own reading of them."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt._packet import PublishPacket, decode_publish
from paho.mqtt.client import MQTTv5

from services.common import publish_packets as packets

CONNACK = bytes.fromhex("20 0b 00 00 08 21 0014 22 000a 25 01")
STREAM = (
    CONNACK
    + bytes.fromhex("40 02 0001")
    + bytes.fromhex("40 03 0002 10")
    + bytes.fromhex("40 04 ffff 87 00")
    + bytes.fromhex("e0 02 8e 00")
)
MEANING = [
    packets.Accepted(receive_maximum=20),
    packets.Acknowledged(1, 0),
    packets.Acknowledged(2, 0x10),
    packets.Acknowledged(65_535, 0x87),
    packets.Refused(0x8E),
]


MESSAGES = st.lists(
    st.tuples(st.text(min_size=1, max_size=300), st.binary(max_size=300)), min_size=1, max_size=20
)


def expanded(answers: Iterable[packets.Packet]) -> list[packets.Packet]:
    """A packet for each PUBACK, also for those that were told together."""
    found: list[packets.Packet] = []
    for answer in answers:
        match answer:
            case packets.Acknowledged(first, code, count):
                ids = [(first - 1 + n) % packets.PACKET_IDS + 1 for n in range(count)]
                found += [packets.Acknowledged(packet_id, code) for packet_id in ids]
            case _:
                found.append(answer)
    return found


def publishes(data: bytes) -> Iterator[PublishPacket]:
    """What paho reads from a stream of PUBLISH packets."""
    while data:
        body = next(place for place in range(1, 5) if data[place] < 0x80) + 1
        end = body + sum((data[1 + n] & 0x7F) << (7 * n) for n in range(body - 1))
        yield decode_publish(data[0], data[body:end], MQTTv5)
        data = data[end:]


@given(messages=MESSAGES, number=st.one_of(st.integers(0, 200_000), st.just(65_530)))
def test_publishes_are_what_paho_reads(messages: list[packets.Message], number: int) -> None:
    read = list(publishes(packets.publish(messages, number)))
    assert [(each.topic.decode(), each.payload) for each in read] == messages
    assert [each.mid for each in read] == [
        each % packets.PACKET_IDS + 1 for each in range(number, number + len(messages))
    ]
    assert {(each.qos, each.retain, each.dup) for each in read} == {(1, False, False)}


@pytest.mark.parametrize("size", [0, 121, 122, 16_376, 16_377, 2_097_144, 2_097_145])
def test_a_publish_of_any_size_is_what_paho_reads(size: int) -> None:
    (read,) = publishes(packets.publish([("t", bytes(size))], 0))
    assert (read.topic, len(read.payload)) == (b"t", size)


RUNS = st.builds(
    lambda first, count: b"".join(
        b"\x40\x02" + ((first - 1 + n) % packets.PACKET_IDS + 1).to_bytes(2, "big")
        for n in range(count)
    ),
    st.one_of(st.integers(1, packets.PACKET_IDS), st.integers(65_530, packets.PACKET_IDS)),
    st.integers(1, 20),
)
OTHERS = st.sampled_from(
    [CONNACK, *map(bytes.fromhex, ("40 03 0002 10", "40 04 ffff 87 00", "e0 02 8e 00", "d0 00"))]
)


@given(parts=st.lists(st.one_of(RUNS, OTHERS), max_size=8), data=st.data())
def test_packets_told_together_are_those_read_byte_by_byte(
    parts: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]
    assert _read(pieces) == _read([bytes((byte,)) for byte in stream])


@pytest.mark.parametrize("cut", range(81))
def test_pubacks_in_a_row_are_the_same_wherever_they_are_cut(cut: int) -> None:
    ids = [65_526 + n if n < 10 else n - 9 for n in range(20)]
    stream = b"".join(b"\x40\x02" + packet_id.to_bytes(2, "big") for packet_id in ids)
    assert _read([stream[:cut], stream[cut:]]) == [packets.Acknowledged(each, 0) for each in ids]


def test_pubacks_in_a_row_are_told_as_one() -> None:
    stream = b"".join(b"\x40\x02" + each.to_bytes(2, "big") for each in (65_534, 65_535, 1, 2))
    assert list(packets.PacketReader().read(stream)) == [packets.Acknowledged(65_534, 0, 4)]


def _read(pieces: Iterable[bytes]) -> list[packets.Packet]:
    reader = packets.PacketReader()
    return [packet for piece in pieces for packet in expanded(reader.read(piece))]


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_stream_means_the_same_wherever_it_is_cut(cut: int) -> None:
    reader = packets.PacketReader()
    assert [*reader.read(STREAM[:cut]), *reader.read(STREAM[cut:])] == MEANING


def test_a_puback_tells_refused_from_unmatched() -> None:
    told = [packets.Acknowledged(1, code) for code in (0, 0x10, 0x87)]
    assert [each.is_refused for each in told] == [False, False, True]
    assert [each.is_unmatched for each in told] == [False, True, False]


def test_a_refused_connection_gives_its_reason() -> None:
    assert list(packets.PacketReader().read(bytes.fromhex("20 03 00 87 00"))) == [
        packets.Refused(0x87)
    ]


@pytest.mark.parametrize("data", ["40 00", "40 01 00", "20 01 00", "40 ff ff ff ff 01"])
def test_what_mqtt_does_not_allow_is_an_error(data: str) -> None:
    with pytest.raises(packets.MalformedPacketError):
        list(packets.PacketReader().read(bytes.fromhex(data)))
