"""Acknowledgements by generation, notes for oversize payloads: without a broker."""

import asyncio
from pathlib import Path

import pytest
from paho.mqtt.client import MQTTMessage
from prometheus_client import CollectorRegistry

from services.common.metrics import GatewayMetrics
from services.common.settings import Settings
from services.gateway.client import PublishClient
from services.gateway.messages import Chunk, Message, flags_of
from services.gateway.subscriber import Subscriber


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "gateway").write_text("a password")
    return Settings(secrets_directory=tmp_path, message_bytes=10)


def subscriber_of(settings: Settings, taken: list[tuple[Message, int]]) -> Subscriber:
    return Subscriber(
        settings,
        "gateway-0",
        filters=("a/#",),
        take=lambda messages, generation: taken.extend((each, generation) for each in messages),
        room=lambda: 100,
        report=lambda _reason: None,
        metrics=GatewayMetrics(CollectorRegistry()),
    )


def chunk_of(generation: int, *messages: tuple[bytes, int]) -> Chunk:
    chunk = Chunk(generation, gateway_time_ms=0)
    for packet_id, qos in messages:
        chunk.add([(b"t", b"", packet_id, flags_of(qos, retain=False, duplicate=False), None)])
    return chunk


@pytest.mark.parametrize(
    ("generation", "connected", "acknowledged"),
    [(2, True, [b"\0\7", b"\0\5"]), (1, True, []), (2, False, [])],
    ids=["its own connection", "a later connection", "no connection"],
)
async def test_messages_are_acknowledged_only_on_the_connection_they_came_on(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    generation: int,
    connected: bool,
    acknowledged: list[bytes],
) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(PublishClient, "acknowledge", lambda _self, ids: sent.extend(ids))
    subscriber = subscriber_of(settings, [])
    subscriber.generation = 2
    if connected:
        subscriber.connected.set()
    subscriber.acknowledge(chunk_of(generation, (b"\0\7", 1), (b"", 0), (b"\0\5", 1)))
    assert sent == acknowledged


async def test_a_payload_over_the_limit_is_taken_empty_with_its_size(settings: Settings) -> None:
    taken: list[tuple[Message, int]] = []
    subscriber = subscriber_of(settings, taken)
    for size in (10, 11):
        message = MQTTMessage(mid=size, topic=b"a/b")
        message.qos, message.payload = 1, b"x" * size
        subscriber._on_message(subscriber._client, None, message)
    assert [(payload, note) for (_, payload, _, _, note), _ in taken] == [
        (b"x" * 10, None),
        (b"", ("oversize", b"11")),
    ]
    await asyncio.sleep(0)
