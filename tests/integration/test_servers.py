"""The servers that all other tests stand on: they answer, die and come back with what they had."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from services.operations.stack.mosquitto import GATEWAY, OPERATOR
from services.operations.stack.processes import wait_gone
from tests.support.databases import Database, PostgreSQLServer
from tests.support.servers import KafkaServer, MosquittoServer, server_folder

NewMosquitto = Callable[[], MosquittoServer]


def login_answer(server: MosquittoServer, account: str, password: str) -> str:
    answers: list[str] = []
    answered = threading.Event()

    def on_connect(
        client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        answers.append(str(reason))
        answered.set()
        client.disconnect()

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.username_pw_set(account, password)
    client.on_connect = on_connect
    client.connect(server.host, server.port)
    client.loop_start()
    assert answered.wait(5)
    client.loop_stop()
    return answers[0]


def publish_answer(server: MosquittoServer, account: str, topic: str, payload: bytes) -> str:
    """What the broker answers a QoS 1 message with."""
    answers: list[str] = []
    answered = threading.Event()

    def on_publish(
        _client: mqtt.Client,
        _userdata: object,
        _mid: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        answers.append(str(reason))
        answered.set()

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.username_pw_set(account, server.password(account))
    client.on_publish = on_publish
    client.connect(server.host, server.port)
    client.loop_start()
    client.publish(topic, payload, qos=1)
    assert answered.wait(10)
    client.disconnect()
    client.loop_stop()
    return answers[0]


async def make_topic(server: KafkaServer, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    await admin.close()


async def send(server: KafkaServer, topic: str, value: bytes) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=server.bootstrap, acks="all")
    await producer.start()
    record = await producer.send_and_wait(topic, value)
    await producer.stop()
    return int(record.offset)


async def end_offset(server: KafkaServer, topic: str) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=server.bootstrap)
    await consumer.start()
    offsets = await consumer.end_offsets([TopicPartition(topic, 0)])
    await consumer.stop()
    return int(offsets[TopicPartition(topic, 0)])


def test_mosquitto_lets_in_who_has_the_password(mosquitto: MosquittoServer) -> None:
    assert login_answer(mosquitto, GATEWAY, mosquitto.password(GATEWAY)) == "Success"
    assert login_answer(mosquitto, GATEWAY, "wrong") == "Not authorized"
    assert login_answer(mosquitto, "nobody", "wrong") == "Not authorized"


def test_a_device_writes_its_own_topic_and_no_other(new_mosquitto: NewMosquitto) -> None:
    server = new_mosquitto()
    server.add_account("probe-1", "probe-secret")

    own = publish_answer(server, "probe-1", "citytally/v1/traffic/probe-1", b"{}")
    other = publish_answer(server, "probe-1", "citytally/v1/traffic/probe-2", b"{}")

    assert own in {"Success", "No matching subscribers"}
    assert other == "Not authorized"


def test_a_removed_device_is_out_at_once(new_mosquitto: NewMosquitto) -> None:
    server = new_mosquitto()
    server.add_account("probe-1", "probe-secret")
    assert login_answer(server, "probe-1", "probe-secret") == "Success"

    server.remove_account("probe-1")

    assert login_answer(server, "probe-1", "probe-secret") == "Not authorized"


def test_mosquitto_carries_ten_megabytes(mosquitto: MosquittoServer) -> None:
    payload = bytes(10 * 1024 * 1024)
    answer = publish_answer(mosquitto, OPERATOR, "citytally/v1/traffic/big", payload)
    assert answer in {"Success", "No matching subscribers"}


def test_mosquitto_killed_comes_back(new_mosquitto: NewMosquitto) -> None:
    server = new_mosquitto()
    server.kill()
    assert not server.description.is_ready()
    server.restart()
    assert login_answer(server, OPERATOR, server.password(OPERATOR)) == "Success"


@pytest.mark.long
async def test_kafka_killed_keeps_what_it_acknowledged(mortal_kafka: KafkaServer) -> None:
    await make_topic(mortal_kafka, "kept")
    assert await send(mortal_kafka, "kept", b"one") == 0

    mortal_kafka.kill()
    await asyncio.to_thread(mortal_kafka.restart)

    assert await end_offset(mortal_kafka, "kept") == 1
    assert await send(mortal_kafka, "kept", b"two") == 1


async def test_kafka_makes_no_topic_by_itself(kafka: KafkaServer) -> None:
    await make_topic(kafka, "declared")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.describe_topics(["mistyped"])
    assert "mistyped" not in await admin.list_topics()
    await admin.close()


async def test_every_test_has_a_database_with_timescaledb(database: Database) -> None:
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("create table readings (time timestamptz not null)")
    await connection.execute("select create_hypertable('readings', 'time')")
    assert await connection.fetchval("show fsync") == "on"
    assert await connection.fetchval("show synchronous_commit") == "on"
    assert await connection.fetchval("show timezone") == "UTC"
    await connection.close()


async def test_postgresql_wants_the_password(database: Database) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(database.dsn_of(database.user, "wrong"))


async def test_postgresql_killed_keeps_what_it_committed(
    mortal_postgresql: PostgreSQLServer,
) -> None:
    server = mortal_postgresql
    database = server.create_database()
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("create table kept as select 1 as n")
    children = psutil.Process(server.pid).children(recursive=True)

    server.kill()
    wait_gone(children, timeout_s=0)
    connection.terminate()
    await asyncio.to_thread(server.restart)

    connection = await asyncpg.connect(database.dsn)
    assert await connection.fetchval("select n from kept") == 1
    await connection.close()


async def test_a_paused_postgresql_answers_after_the_pause(
    mortal_postgresql: PostgreSQLServer,
) -> None:
    server = mortal_postgresql
    connection = await asyncpg.connect(server.create_empty_database().dsn)

    server.pause()
    query = asyncio.ensure_future(connection.fetchval("select 1"))
    done, _ = await asyncio.wait([query], timeout=0.5)
    assert not done
    server.resume()

    assert await query == 1
    await connection.close()


def test_no_server_outlives_the_process_that_started_it() -> None:
    script = (
        "import os, pathlib, signal, sys\n"
        "from tests.support.servers import new_mosquitto\n"
        "server = new_mosquitto(pathlib.Path(sys.argv[1]))\n"
        "server.start()\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with server_folder() as folder:
        command = [sys.executable, "-c", script, str(folder)]
        output = subprocess.run(command, capture_output=True, check=False).stdout
        server_pid = int(output)
        if psutil.pid_exists(server_pid):
            wait_gone([psutil.Process(server_pid)], timeout_s=5)
