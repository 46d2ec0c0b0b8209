"""Kafka topics and MQTT subscriptions, declared once as data."""

from dataclasses import dataclass, field
from typing import Final

_DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class KafkaTopic:
    """A topic as it is created; ``config`` is Kafka's own words, values as text."""

    name: str
    partitions: int
    description: str
    config: dict[str, str] = field(default_factory=dict)


RAW = KafkaTopic(
    name="telemetry.raw",
    partitions=12,
    description="Every MQTT message as it arrived: key = MQTT topic, value = payload, headers = "
    "gateway slot, gateway's clock, QoS, retained and duplicate flags.",
    config={
        # How far back decoding can be redone.
        "retention.ms": str(7 * _DAY_MS),
        "retention.bytes": "-1",
        "cleanup.policy": "delete",
        # received_at is the broker's clock: a gateway with a wrong one judges nothing.
        "message.timestamp.type": "LogAppendTime",
        # A payload is 256 KiB at most; topic, headers and the batch around it need room.
        "max.message.bytes": str(1024 * 1024),
        # Brokers store what the gateway compressed, without doing it again.
        "compression.type": "producer",
    },
)

KAFKA_TOPICS: dict[str, KafkaTopic] = {topic.name: topic for topic in (RAW,)}

MQTT_TOPICS: dict[str, tuple[str, ...]] = {
    # Wider than kind/device, so that a wrong path is accounted for as unknown_topic.
    "native": ("citytally/v1/#",),
}
"""Subscriptions by convention; the gateway shares each of them among its slots."""
