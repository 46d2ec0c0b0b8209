"""Every metric of the services, declared once: name, unit, meaning.

Built in ``main`` on a registry that is passed in, never at import. Names are
``citytally_<service>_<what>_<unit>``; the unit is the last word (before ``_total``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LATENCY_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip


@dataclass(frozen=True)
class Declaration:
    """A metric as dashboards, alerts and documentation know it."""

    name: str
    kind: str
    meaning: str


class GatewayMetrics:
    """What the gateway counts. Counted once a chunk, never once a message."""

    def __init__(self, registry: CollectorRegistry) -> None:
        new = _Builder("gateway", registry)
        self.received = new.counter(
            "received_messages", "Messages read from MQTT with QoS 1, copies included"
        )
        self.received_qos0 = new.counter(
            "received_qos0_messages",
            "Messages read from MQTT with QoS 0: at most once, in no promise",
        )
        self.received_bytes = new.counter("received_bytes", "Payload bytes read from MQTT")
        self.duplicate_flag = new.counter(
            "duplicate_flag_messages", "Messages that the broker marked as sent before"
        )
        self.forwarded = new.counter(
            "forwarded_messages", "Messages that Kafka has answered for, whatever their QoS"
        )
        self.acknowledged = new.counter(
            "acknowledged_messages", "Messages acknowledged to MQTT after Kafka's answer"
        )
        self.unacknowledged = new.counter(
            "outlived_connection_messages",
            "Messages in Kafka whose connection was gone before their turn: they come again",
        )
        self.refused = new.counter(
            "refused_messages", "Messages that Kafka refused for good, forwarded empty"
        )
        self.oversize = new.counter(
            "oversize_messages", "Messages over the size limit, forwarded empty"
        )
        self.in_flight = new.gauge(
            "in_flight_messages", "Messages taken from MQTT and not yet answered by Kafka"
        )
        self.in_flight_bytes = new.gauge("in_flight_bytes", "The same in payload bytes")
        self.paused = new.counter(
            "reading_paused_times", "Times that the socket was left unread at a bound"
        )
        self.connections = new.counter("mqtt_connections", "Connections made to the MQTT broker")
        self.kafka_failures = new.counter(
            "kafka_failures", "Produce attempts that failed and were made again"
        )
        self.chunk_latency = new.histogram(
            "kafka_latency_seconds", "From handing a chunk to Kafka to its last answer"
        )
        self.clock_difference = new.gauge(
            "clock_difference_seconds",
            "Kafka's append time minus this gateway's clock: seconds, not milliseconds, means a "
            "wrong clock",
        )


class IngestMetrics:
    """What ingest counts. Counted once a batch, never once a message."""

    def __init__(self, registry: CollectorRegistry) -> None:
        new = _Builder("ingest", registry)
        self.messages = new.counter("messages", "Messages stored, whatever became of them")
        self.readings = new.counter("readings", "Readings that decoding yielded")
        self.refused = new.counter("refused_items", "Messages and readings refused by decoding")
        self.batches = new.counter("batches", "Transactions committed")
        self.store_time = new.histogram(
            "store_seconds", "One batch's transaction, waits included; the next is read meanwhile"
        )
        self.delay = new.histogram(
            "delay_seconds", "From Kafka's receipt of a batch's oldest message to its commit"
        )
        self.pauses = new.counter("pauses", "Waits for a database or a Kafka that was away")
        self.fenced = new.counter("fenced", "Batches dropped since another process had moved on")
        self.proofs = new.counter("proofs", "Times that the log was proven to be ours")
        self.out_of_step = new.counter(
            "out_of_step", "Fetches that did not follow our offset and were sought again"
        )
        self.unacknowledged_gaps = new.gauge(
            "unacknowledged_gaps",
            "Gaps of all logs that nobody has acknowledged (citytally ledger), at the last sweep",
        )
        self.kafka_commit_failures = new.counter(
            "kafka_commit_failures", "Times that Kafka's own offsets could not be moved along"
        )


def declared() -> Sequence[Declaration]:
    """Return every metric of every service, for the tests that close the set."""
    registry = CollectorRegistry()
    for build in (GatewayMetrics, IngestMetrics):
        build(registry)
    return [
        Declaration(family.name, family.type, family.documentation) for family in registry.collect()
    ]


class _Builder:
    """Names and registers metrics of one service."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        self._prefix = f"citytally_{service}_"
        self._registry = registry

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(self._prefix + name, meaning, labels, registry=self._registry)

    def gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(self._prefix + name, meaning, labels, registry=self._registry)

    def histogram(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = _LATENCY_BUCKETS_S,
    ) -> Histogram:
        return Histogram(
            self._prefix + name, meaning, labels, registry=self._registry, buckets=buckets
        )
