"""The slot's MQTT session: connected, subscribed, read, and acknowledged by hand."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from services.common import mqtt
from services.common.metrics import GatewayMetrics
from services.common.retries import Backoff
from services.common.settings import Settings
from services.gateway.client import PublishClient
from services.gateway.connection import Connection
from services.gateway.messages import Chunk, Message, flags_of

log = structlog.get_logger(__name__)

_SHARE = "citytally"
_STANDS_AFTER_S = 10.0
_LOOK_EVERY_S = 0.5
# Short: what comes to a restarted Mosquitto 2.0 before its sessions have subscribed again is lost.
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.02, 2.0
_ANSWER_TIMEOUT_S = 10.0
_LARGEST_WINDOW = 65_535


class Subscriber:
    """Keeps one slot's session connected.

    It promises:

    1. Each connection that the broker accepts is a new generation.
    2. Messages are handed to ``take`` with the generation that they came on, in receive order.
    3. Nothing is read while ``room`` is none, and no more handed on than there is room for.
    4. A chunk is acknowledged in receive order, as one write, and only while the connection that
       it came on stands; otherwise the broker sends its messages again.

    Without ``filters`` it subscribes to nothing and reads what the session holds. ``report`` is
    told what it waits for, and None once it is connected and subscribed.
    """

    def __init__(  # noqa: PLR0913 # the joint of MQTT and the forwarder
        self,
        settings: Settings,
        slot: str,
        *,
        filters: tuple[str, ...],
        take: Callable[[Sequence[Message], int], None],
        room: Callable[[], int],
        report: Callable[[str | None], None],
        metrics: GatewayMetrics,
    ) -> None:
        self._settings = settings
        self._slot = slot
        self._filters = filters
        self._take = take
        self._report = report
        self._metrics = metrics
        self._client = self._new_client()
        # The broker's answer to CONNECT is read whether there is room or not.
        self._client.room = lambda: room() if self.connected.is_set() else max(1, room())
        self._connection = Connection(self._client, metrics.paused.inc)
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost = asyncio.Event()
        self.connected = asyncio.Event()
        self.generation = 0
        self.received = 0
        self.session_was_present = False
        self.losses = 0
        self._is_ending = False

    async def run(self) -> None:
        """Connect and stay connected until cancelled or told to disconnect."""
        backoff = Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S)
        while not self._is_ending:
            try:
                await self._connect()
            except (OSError, mqtt.BrokerRefusedError) as error:
                self._report(f"no connection: {error}")
            else:
                await self._stand(backoff)
            self._connection.release()
            await backoff.wait()

    def acknowledge(self, chunk: Chunk) -> None:
        """Acknowledge a chunk's messages if the connection that they came on still stands."""
        wanted = chunk.packet_ids
        if chunk.generation != self.generation or not self.connected.is_set():
            self._metrics.unacknowledged.inc(len(wanted))
            return
        self._client.acknowledge(wanted)
        self._metrics.acknowledged.inc(len(wanted))

    def resume_reading(self) -> None:
        """Read on if reading waited for room."""
        self._connection.resume_reading()

    def stop_reading(self) -> None:
        """Read nothing more."""
        self._connection.stop_reading()

    async def unsubscribe(self, filters: tuple[str, ...]) -> None:
        """Take the session out of its shared subscriptions; what is queued for it stays queued.

        Raises TimeoutError without the broker's answer.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._client.unsubscribe([_shared(each) for each in filters])
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            await self._answer

    async def disconnect(self, *, end_session: bool = False) -> None:
        """Say goodbye after all acknowledgements; the session stays unless it is to end.

        Raises TimeoutError and OSError when the connection does not let us.
        """
        self._is_ending = True
        if not self.connected.is_set():
            return
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            if end_session:
                self._end_session()
            else:
                await self._connection.finish()
            await self._lost.wait()

    def _end_session(self) -> None:
        properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call] # paho's
        properties.SessionExpiryInterval = 0
        self._client.disconnect(properties=properties)

    async def _stand(self, backoff: Backoff) -> None:
        """Return when the connection is lost; one that stood for a while forgives the former.

        Two gateways of one name take the session from each other: they do so ever more slowly.
        """
        since = time.monotonic()
        while not self._lost.is_set():
            await self._look_for(_LOOK_EVERY_S)
        if time.monotonic() - since > _STANDS_AFTER_S:
            backoff.reset()

    async def _look_for(self, seconds: float) -> None:
        """Wait for the loss of the connection, and cause it if the broker has gone unnoticed.

        A broker that came back must not wait for room here: until its session has subscribed
        again, Mosquitto 2.0 throws away what it acknowledges.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._lost.wait()
        except TimeoutError:
            if self._connection.is_closed_by_peer():
                self._client.disconnect()

    def _new_client(self) -> PublishClient:
        client = mqtt.subscriber(self._settings, self._slot, PublishClient)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publishes = self._on_publishes
        return client

    async def _connect(self) -> None:
        """Open a connection and return when the broker has accepted it."""
        loop = asyncio.get_running_loop()
        self._answer, self._lost = loop.create_future(), asyncio.Event()
        await loop.run_in_executor(None, self._open)
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            await self._answer

    def _open(self) -> None:
        window = min(self._settings.gateway_in_flight_messages, _LARGEST_WINDOW)
        self._client.connect(
            self._settings.mqtt_host,
            self._settings.mqtt_port,
            keepalive=0,
            clean_start=False,
            properties=mqtt.session_properties(mqtt.SESSION_NEVER_EXPIRES, window),
        )

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        flags: ConnectFlags,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if code.is_failure:
            self._answer_with(mqtt.BrokerRefusedError(f"the broker says: {code}"))
            return
        self.generation += 1
        self.session_was_present = flags.session_present
        self.connected.set()
        self._metrics.connections.inc()
        log.info("connected", generation=self.generation, session=flags.session_present)
        self._answer_with(None)
        if self._filters:
            self._report("subscribing")
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            self._client.subscribe([(_shared(each), options) for each in self._filters])
        else:
            self._report(None)

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: object,
        _packet_id: int,
        codes: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        refused = [
            f"{name} ({code})"
            for name, code in zip(self._filters, codes, strict=True)
            if code.is_failure
        ]
        self._report(f"subscription refused: {', '.join(refused)}" if refused else None)

    def _on_unsubscribe(
        self,
        _client: Client,
        _userdata: object,
        _packet_id: int,
        _codes: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self._answer_with(None)

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        """Take a message that paho has read itself: one with properties, say."""
        flags = flags_of(message.qos, retain=message.retain, duplicate=message.dup)
        topic, packet_id = message.topic.encode(), message.mid.to_bytes(2, "big")
        self._on_publishes([(topic, bytes(message.payload), packet_id, flags, None)])

    def _on_publishes(self, messages: list[Message]) -> None:
        self.received += len(messages)
        limit = self._settings.message_bytes
        sizes = [len(payload) for _, payload, _, _, _ in messages]
        if max(sizes) > limit:
            messages = [_without_oversize(message, limit) for message in messages]
            self._metrics.oversize.inc(sum(size > limit for size in sizes))
        self._take(messages, self.generation)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        _flags: DisconnectFlags,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self.connected.clear()
        self.losses += 1
        self._report(
            f"connection lost: {code} (again and again: another client uses the name "
            f"{mqtt.client_id(self._slot)})"
        )
        self._answer_with(ConnectionResetError(str(code)))
        self._lost.set()

    def _answer_with(self, error: Exception | None) -> None:
        if self._answer.done():
            return
        if error is None:
            self._answer.set_result(None)
        else:
            self._answer.set_exception(error)


def _without_oversize(message: Message, limit: int) -> Message:
    """Return the message, its payload replaced by a note of its size where that is too large."""
    topic, payload, packet_id, flags, _ = message
    if len(payload) <= limit:
        return message
    return topic, b"", packet_id, flags, ("oversize", str(len(payload)).encode())


def _shared(topic_filter: str) -> str:
    return f"$share/{_SHARE}/{topic_filter}"
