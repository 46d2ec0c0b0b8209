"""MQTT packets of the publisher, held to paho's own reading of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt._packet import decode_publish
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


@given(
    packet_id=st.integers(1, packets.PACKET_IDS),
    topic=st.text(min_size=1, max_size=300).map(str.encode),
    payload=st.binary(max_size=40_000),
)
def test_a_publish_is_what_paho_reads(packet_id: int, topic: bytes, payload: bytes) -> None:
    data = packets.publish(packet_id, topic, payload)
    body = data[-(len(topic) + len(payload) + 5) :]
    read = decode_publish(data[0], body, MQTTv5)
    assert (read.mid, read.topic, read.payload) == (packet_id, topic, payload)
    assert (read.qos, read.retain, read.dup) == (1, False, False)


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
