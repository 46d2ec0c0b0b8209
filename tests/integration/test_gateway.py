"""The gateway on a real Mosquitto and a real Kafka: what it carries, and that it loses nothing."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator

import paho.mqtt.publish
import psutil
import pytest
from aiokafka.admin import NewPartitions

from services.common import kafka as kafka_clients
from services.common.kafka import partition_for
from services.gateway.retire import SlotInUseError, retire
from tests.support.gateways import Gateways, gateways
from tests.support.servers import KafkaServer, MosquittoServer

NewMosquitto = Callable[[], MosquittoServer]


@pytest.fixture
def room(mosquitto: MosquittoServer, kafka: KafkaServer) -> Iterator[Gateways]:
    with gateways(mosquitto, kafka) as made:
        yield made


@pytest.fixture
def own_kafka(
    mosquitto: MosquittoServer, mortal_kafka: KafkaServer
) -> Iterator[tuple[Gateways, KafkaServer]]:
    """Room for gateways whose Kafka may be paused and killed."""
    with gateways(mosquitto, mortal_kafka) as made:
        yield made, mortal_kafka


@pytest.fixture
def own_mosquitto(new_mosquitto: NewMosquitto, kafka: KafkaServer) -> Iterator[Gateways]:
    """Room for gateways whose broker may be restarted."""
    with gateways(new_mosquitto(), kafka) as made:
        yield made


@pytest.fixture
def own_servers(
    new_mosquitto: NewMosquitto, mortal_kafka: KafkaServer
) -> Iterator[tuple[Gateways, KafkaServer]]:
    """Room for gateways both of whose servers may be hurt."""
    with gateways(new_mosquitto(), mortal_kafka) as made:
        yield made, mortal_kafka


@pytest.fixture
def two_partitions(mosquitto: MosquittoServer, kafka: KafkaServer) -> Iterator[Gateways]:
    with gateways(mosquitto, kafka, partitions=2) as made:
        yield made


async def test_payloads_arrive_byte_for_byte_with_their_headers(room: Gateways) -> None:
    gateway = room.start()
    binary = bytes(range(256)) * 200
    await room.publish(
        [
            (room.topic("binary"), binary),
            (room.topic("empty"), b""),
            (room.topic("text"), "ö".encode()),
        ]
    )
    await gateway.until("acknowledged_messages_total", 3)
    records = {record.topic: record for record in await room.records()}
    assert {topic: record.payload for topic, record in records.items()} == {
        room.topic("binary"): binary,
        room.topic("empty"): b"",
        room.topic("text"): "ö".encode(),
    }
    for topic, record in records.items():
        assert record.partition == partition_for(topic.encode(), 12)
        gateway_time = int(record.headers.pop("gateway_time"))
        assert gateway_time > 1_700_000_000_000
        assert record.headers == {
            "slot": room.slot("gateway-0").encode(), "qos": b"1", "retain": b"0", "dup": b"0",
        }  # fmt: skip


async def test_a_message_of_10_mb_is_accounted_for_without_its_payload(room: Gateways) -> None:
    gateway = room.start()
    await room.publish([(room.topic("big"), b"x" * 10_000_000), (room.topic("small"), b"1")])
    await gateway.until("acknowledged_messages_total", 2)
    records = {record.topic: record for record in await room.records()}
    big = records[room.topic("big")]
    assert (big.payload, big.headers["oversize"]) == (b"", b"10000000")
    assert records[room.topic("small")].payload == b"1"
    assert gateway.metric("oversize_messages_total") == 1


async def test_a_record_that_kafka_refuses_is_accounted_for_and_harms_no_neighbour(
    room: Gateways,
) -> None:
    """P4."""
    gateway = room.start(message_bytes=3_000_000)
    messages = [(room.topic("same"), b"%d" % number) for number in range(20)]
    messages[7] = (room.topic("same"), b"x" * 2_000_000)
    await room.publish(messages)
    await gateway.until("acknowledged_messages_total", 20)
    records = await room.records()
    (refused,) = [record for record in records if "refused" in record.headers]
    assert refused.payload == b""
    assert b"MessageSizeTooLarge" in refused.headers["refused"]
    whole = sorted(record.payload for record in records if "refused" not in record.headers)
    assert whole == sorted(payload for _, payload in messages if len(payload) < 10)


async def test_qos_0_is_forwarded_counted_apart_and_not_acknowledged(room: Gateways) -> None:
    gateway = room.start()
    paho.mqtt.publish.multiple(
        [(room.topic("careless"), b"0", 0, True)],
        hostname=room.mosquitto.host,
        port=room.mosquitto.port,
        auth={"username": "operator", "password": room.mosquitto.password("operator")},
    )
    await gateway.until("forwarded_messages_total", 1)
    (record,) = await room.records()
    assert (record.headers["qos"], record.headers["retain"]) == (b"0", b"1")
    assert gateway.metric("received_qos0_messages_total") == 1
    assert gateway.metric("received_messages_total") == 0
    assert gateway.metric("acknowledged_messages_total") == 0


async def test_nothing_is_acknowledged_before_kafka_has_it(
    own_kafka: tuple[Gateways, KafkaServer],
) -> None:
    """P1: Kafka hangs, the gateway is killed: the broker still holds every message."""
    room, kafka = own_kafka
    gateway = room.start()
    kafka.pause()
    await room.publish(room.messages(range(1000)))
    await gateway.until("in_flight_messages", 1000)
    assert gateway.metric("acknowledged_messages_total") == 0
    gateway.kill()
    kafka.resume()
    gateway.start()
    await gateway.until("acknowledged_messages_total", 1000)
    assert gateway.metric("duplicate_flag_messages_total") == 1000
    assert set(await room.numbers()) == set(range(1000))


@pytest.mark.long
async def test_kafka_killed_under_load_loses_no_acknowledged_message(
    own_kafka: tuple[Gateways, KafkaServer],
) -> None:
    """P1."""
    room, kafka = own_kafka
    gateway = room.start()
    acknowledged: list[int] = []
    async with room.publisher(acknowledged) as publisher:
        for start in range(0, 20_000, 500):
            await publisher.publish(room.messages(range(start, start + 500)))
            if start == 5_000:
                kafka.kill()
            await asyncio.sleep(0.02)
        await gateway.until_not_ready()
        await asyncio.to_thread(kafka.start)
        await publisher.drain(20)
    await gateway.until("acknowledged_messages_total", 20_000)
    assert sorted(acknowledged) == list(range(20_000))
    assert set(await room.numbers()) == set(range(20_000))
    await asyncio.to_thread(gateway.wait_ready, 10)


async def test_mosquitto_restarted_is_found_again(own_mosquitto: Gateways) -> None:
    """All that a session had taken arrives; what came while it had none is told to the sender."""
    room = own_mosquitto
    gateway = room.start()
    acknowledged: list[int] = []
    async with room.publisher(acknowledged) as publisher:
        await publisher.publish(room.messages(range(5000)))
        await asyncio.to_thread(room.mosquitto.restart)
        await gateway.until("mqtt_connections_total", 2)
        await asyncio.to_thread(gateway.wait_ready)
        await publisher.publish(room.messages(range(5000, 6000)))
        await publisher.drain(10)
        assert len(acknowledged) + publisher.unmatched == 6000
    await gateway.until_quiet()
    assert set(acknowledged) <= set(await room.numbers())
    assert set(acknowledged) >= set(range(5000, 6000))


async def test_sigterm_drains_and_the_session_keeps_what_was_not_read(room: Gateways) -> None:
    """Exactly once across a planned stop: what was forwarded was also acknowledged."""
    gateway = room.start()
    await room.publish(room.messages(range(20_000)))
    gateway.stop()
    assert gateway.exit_code == 0
    gateway.start()
    await room.publish(room.messages(range(20_000, 20_001)))
    await room.until_records(20_001)
    assert await room.numbers() == list(range(20_001))


async def test_retiring_a_slot_brings_what_it_holds_to_kafka_and_ends_its_session(
    room: Gateways,
) -> None:
    gateway = room.start("gateway-1")
    gateway.stop()
    await room.publish(room.messages(range(700)))
    retired = await retire(room.settings, room.slot("gateway-1"), settle_s=0.5, quiet_s=0.5)
    assert (retired.had_session, retired.drained) == (True, 700)
    assert await room.numbers() == list(range(700))
    again = await retire(room.settings, room.slot("gateway-1"))
    assert (again.had_session, again.drained) == (False, 0)


async def test_a_slot_in_use_is_not_retired(room: Gateways) -> None:
    gateway = room.start("gateway-1")
    with pytest.raises(SlotInUseError, match="in use"):
        await retire(room.settings, room.slot("gateway-1"))
    await room.publish(room.messages(range(100)))
    await gateway.until("forwarded_messages_total", 100)
    assert set(await room.numbers()) == set(range(100))


async def test_in_flight_and_memory_are_bounded_while_kafka_hangs(
    own_kafka: tuple[Gateways, KafkaServer],
) -> None:
    room, kafka = own_kafka
    gateway = room.start(gateway_in_flight_messages=5_000)
    process = psutil.Process(gateway.pid)
    kafka.pause()
    async with room.publisher(in_flight=10_000) as publisher:
        await publisher.publish(room.messages(range(20_000)))
        await gateway.until("in_flight_messages", 5_000)
        before = process.memory_info().rss
        await publisher.publish(room.messages(range(20_000, 100_000)))
        await publisher.drain(30)
    assert gateway.metric("in_flight_messages") == 5_000
    assert process.memory_info().rss - before < 10 * 1024 * 1024
    kafka.resume()
    await gateway.until("acknowledged_messages_total", 100_000)
    assert set(await room.numbers()) == set(range(100_000))


async def test_a_broker_restarted_while_kafka_hangs_and_the_gateway_is_full(
    own_servers: tuple[Gateways, KafkaServer],
) -> None:
    """It subscribes again at once, full or not: what comes meanwhile is queued, not lost."""
    room, kafka = own_servers
    gateway = room.start(gateway_in_flight_messages=500)
    kafka.pause()
    await room.publish(room.messages(range(3000)))
    await gateway.until("in_flight_messages", 500)
    await asyncio.to_thread(room.mosquitto.restart)
    await gateway.until("mqtt_connections_total", 2)
    await asyncio.sleep(0.2)
    await room.publish(room.messages(range(3000, 4000)))
    kafka.resume()
    await gateway.until("acknowledged_messages_total", 4000)
    assert set(await room.numbers()) == set(range(4000))
    await asyncio.to_thread(gateway.wait_ready, 10)


async def test_added_partitions_are_used(two_partitions: Gateways) -> None:
    room = two_partitions
    gateway = room.start()
    await room.publish(room.messages(range(100)))
    await gateway.until("acknowledged_messages_total", 100)
    admin = kafka_clients.admin(room.settings, "test-admin")
    await admin.start()
    await admin.create_partitions({room.settings.raw_topic: NewPartitions(6)})
    await admin.close()

    async with asyncio.timeout(30):
        for start in itertools.count(100, 100):
            await room.publish(room.messages(range(start, start + 100)))
            await gateway.until("acknowledged_messages_total", start + 100)
            later = [each for each in await room.records() if int(each.payload) >= start]
            if {record.partition for record in later} == set(range(6)):
                break
            await asyncio.sleep(0.3)
    assert all(record.partition == partition_for(record.topic.encode(), 6) for record in later)


async def test_a_second_slot_shares_the_load(room: Gateways) -> None:
    for slot in ("gateway-0", "gateway-1"):
        room.start(slot)
    await room.publish(room.messages(range(1000)))
    records = await room.until_records(1000)
    shares = Counter(record.headers["slot"].decode() for record in records)
    assert set(shares) == {room.slot("gateway-0"), room.slot("gateway-1")}
    assert min(shares.values()) > 300
    assert sorted(int(record.payload) for record in records) == list(range(1000))
