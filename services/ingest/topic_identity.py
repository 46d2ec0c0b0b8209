"""Which log stands under a topic's name right now: Kafka's topic id, which is never given twice.

A client that was paused while a topic was deleted and made again goes on silently in the new log,
at its old offset. So does one whose broker comes back without the end of its log: the id is the
same then, but not the leader's epoch, or not the connection. aiokafka speaks Metadata up to version
5, which knows names only; the id came with version 10, so that one request is spelled out here with
the library's own types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar
from uuid import UUID

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from services.common.settings import Settings

_API_KEY = 3
_VERSION = 12
_NO_TOPIC_ID = UUID(int=0)
_REQUEST_TIMEOUT_MS = 10_000


class _Uuid(AbstractType):  # type: ignore[misc]  # aiokafka ships no types
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = _API_KEY
    API_VERSION = _VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = _API_KEY
    API_VERSION = _VERSION
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestStruct]):  # type: ignore[misc]  # as above
    API_KEY = _API_KEY
    _CLASSES: ClassVar[Sequence[type[_MetadataRequestStruct]]] = (_MetadataRequestStruct,)

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> Any:  # noqa: ANN401 -- as above
        return request_struct_class([(_NO_TOPIC_ID, self._topic, {})], False, False, {})


@dataclass(frozen=True, slots=True)
class Standing:
    """A topic as Kafka knows it. Whatever happens to its log, the next answer is another one.

    ``epochs`` are its partitions with the epoch of each one's leader; ``connection`` counts the
    connections that were made to ask.
    """

    topic_id: UUID
    epochs: Mapping[int, int]
    connection: int


class TopicIdentity:
    """Asks Kafka what stands under a topic's name, over a connection of its own."""

    def __init__(self, settings: Settings, client_id: str) -> None:
        self._topic = settings.raw_topic
        self._client_id = client_id
        self._client = AIOKafkaClient(
            bootstrap_servers=settings.kafka_bootstrap,
            client_id=client_id,
            metadata_max_age_ms=10_000,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
        )
        self._connection: AIOKafkaConnection | None = None
        self._connections = 0

    async def start(self) -> None:
        """Connect; raises ``KafkaError`` when no broker answers."""
        await self._client.bootstrap()

    async def stop(self) -> None:
        """Disconnect."""
        self._hang_up()
        await self._client.close()

    async def ask(self) -> Standing:
        """Return how the topic stands. Raises ``KafkaError`` when there is none or no answer."""
        connection = await self._connected()
        try:
            answer = await connection.send(_MetadataRequest(self._topic))
        except TimeoutError as error:
            self._hang_up()
            raise KafkaTimeoutError("Kafka does not answer") from error
        except KafkaError:
            self._hang_up()
            raise
        error_code, _, topic_id, _, partitions, *_ = answer.topics[0]
        if error_code:
            raise for_code(error_code)(f"topic {self._topic}")
        epochs = {partition: epoch for _, partition, _, epoch, *_ in partitions}
        return Standing(topic_id, epochs, self._connections)

    async def _connected(self) -> AIOKafkaConnection:
        """Return the connection; one that was lost is made again, to any broker, and counted."""
        if self._connection is not None and self._connection.connected():
            return self._connection
        node = self._client.get_random_node()
        broker = None if node is None else self._client.cluster.broker_metadata(node)
        if broker is None:
            raise KafkaConnectionError("no broker of Kafka is known")
        try:
            self._connection = await create_conn(
                broker.host, broker.port, client_id=self._client_id,
                request_timeout_ms=_REQUEST_TIMEOUT_MS,
            )  # fmt: skip
        except OSError as error:
            raise KafkaConnectionError(f"{broker.host}:{broker.port}: {error}") from error
        self._connections += 1
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
