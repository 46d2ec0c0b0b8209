"""Kafka clients, built in one way: what aiokafka's defaults get wrong for us is set here.

The clients are returned unstarted; who builds one starts and stops it.
"""

from collections.abc import Iterable
from zlib import crc32

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import TopicAlreadyExistsError, for_code

from schemas.topics import KafkaTopic
from services.common.settings import Settings

# Five minutes by default: partitions added or moved would stay unseen that long.
_METADATA_MAX_AGE_MS = 10_000
# Forty seconds by default: how long a broker that hangs holds up a request before it is retried.
REQUEST_TIMEOUT_MS = 15_000
# Under Kafka's limit for a batch (1 MiB less a header), with room for several large messages.
BATCH_BYTES = 768 * 1024


def client(settings: Settings, client_id: str) -> AIOKafkaClient:
    """Return a client that keeps connections and metadata, for requests made by the caller."""
    return AIOKafkaClient(
        bootstrap_servers=settings.kafka_bootstrap,
        client_id=client_id,
        metadata_max_age_ms=_METADATA_MAX_AGE_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )


def producer(settings: Settings, client_id: str) -> AIOKafkaProducer:
    """Return a producer whose answer means: on all in-sync replicas.

    No linger: batches are built by the caller (``create_batch``, at most ``BATCH_BYTES``).
    """
    return AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap,
        client_id=client_id,
        acks="all",
        linger_ms=0,
        max_batch_size=BATCH_BYTES,
        metadata_max_age_ms=_METADATA_MAX_AGE_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )


def consumer(
    settings: Settings,
    client_id: str,
    *,
    group: str | None,
    fetch_bytes_per_partition: int = 1024 * 1024,
) -> AIOKafkaConsumer:
    """Return a consumer without topics; subscribe or assign it, then seek before fetching.

    Offsets belong to the database: nothing is committed by itself, and a partition without a
    position raises NoOffsetForPartitionError instead of skipping what is there.
    """
    return AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap,
        client_id=client_id,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        metadata_max_age_ms=_METADATA_MAX_AGE_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=fetch_bytes_per_partition,
        # A database that is away for an hour must not cost the group a rebalance every five
        # minutes; a process that hangs is ended by its supervisor, not by the group.
        max_poll_interval_ms=24 * 3600 * 1000,
    )


def admin(settings: Settings, client_id: str) -> AIOKafkaAdminClient:
    """Return an admin client."""
    return AIOKafkaAdminClient(
        bootstrap_servers=settings.kafka_bootstrap,
        client_id=client_id,
        metadata_max_age_ms=_METADATA_MAX_AGE_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )


async def create_topics(
    client: AIOKafkaAdminClient, topics: Iterable[KafkaTopic], *, replicas: int = 1
) -> list[str]:
    """Create the topics that are not there and return their names.

    Existing topics are left as they are. Raises a KafkaError that names the topic otherwise.
    """
    answer = await client.create_topics(
        [
            NewTopic(each.name, each.partitions, replicas, topic_configs=each.config)
            for each in topics
        ]
    )
    return [name for name, code, text in answer.topic_errors if _is_new(name, code, text)]


def _is_new(topic: str, code: int, text: str | None) -> bool:
    error = for_code(code) if code else None
    if error is None:
        return True
    if error is TopicAlreadyExistsError:
        return False
    raise error(f"could not create topic {topic}: {text}")


def partition_for(key: bytes, partitions: int) -> int:
    """Return the partition of a key: the same for all gateways, evenly spread.

    CRC-32, not the murmur2 of Kafka's own clients: nobody else writes to our topics, nothing needs
    the order that a shared choice would give, and murmur2 in Python costs 10 µs a new key.
    """
    return crc32(key) % partitions
