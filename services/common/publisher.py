"""A fast QoS 1 publisher that knows exactly what the broker has acknowledged.

For replaying, simulating and measuring, where paho's 25 µs a message would be the bottleneck.
Messages are numbered from 0 in the order given. What it promises:

1. A number is told to ``on_acknowledged`` once, after the broker's PUBACK for it, never before,
   and only if somebody had subscribed: what the broker takes and nobody gets is ``unmatched``
   (Mosquitto 2.0 that was restarted forgets shared subscriptions until their sessions are back).
2. At most ``in_flight`` numbers (or fewer, if the broker says so) wait for their PUBACK.
3. When the connection is lost it is made again, and what had no PUBACK is sent again, oldest first.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import Self, cast

import structlog

from services.common import publish_packets as packets
from services.common.mqtt import BrokerRefusedError, keep_alive_by_tcp
from services.common.publish_packets import Message
from services.common.retries import Backoff
from services.common.unanswered import Unanswered

log = structlog.get_logger(__name__)

_CONNECT_TIMEOUT_S = 10.0
_PART_OF_WINDOW = 4
"""A full window is waited for until this part of it is free."""


class Publisher:
    """Publishes messages with QoS 1 while its context is open.

    Entering raises OSError where no broker answers and BrokerRefusedError where it refuses;
    afterwards a lost connection is made again for as long as it takes.
    """

    def __init__(  # noqa: PLR0913 # what a connection needs
        self,
        host: str,
        port: int,
        *,
        client_id: str,
        user: str | None = None,
        password: str | None = None,
        in_flight: int = 1000,
        on_acknowledged: Callable[[Sequence[int]], None] = lambda _numbers: None,
    ) -> None:
        self._address = (host, port)
        self._hello = packets.connect(client_id, user, password)
        self._wanted = min(in_flight, packets.PACKET_IDS)
        self._window = self._wanted
        self._on_acknowledged = on_acknowledged
        self._unanswered = Unanswered()
        self._progress = asyncio.Event()
        self._connection: _Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.acknowledged = 0
        self.refused = 0
        self.unmatched = 0
        self.reconnects = 0

    async def __aenter__(self) -> Self:
        await self._connect()
        self._keeper = asyncio.create_task(self._stay_connected(), name="publisher connection")
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._connection is not None:
            self._connection.send(packets.DISCONNECT)
            self._connection.close()

    @property
    def unacknowledged(self) -> int:
        """Messages that have no PUBACK yet."""
        return len(self._unanswered)

    async def publish(self, messages: Iterable[Message]) -> int:
        """Send messages and return the first one's number; waits while the window is full.

        Hundreds at a time are cheapest: one write, no await a message.
        """
        first, rest = self._unanswered.next, iter(messages)
        while taken := list(islice(rest, await self._room())):
            self._send(taken)
        return first

    async def drain(self, timeout_s: float | None = None) -> None:
        """Wait until every message has its answer. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self._unanswered:
                await self._next_progress()

    async def _room(self) -> int:
        """Wait for room in the window and return how many numbers fit.

        A full window is refilled in large pieces: else each PUBACK would send a message on its own.
        """
        was_full = False
        while True:
            self._raise_if_connection_ended_for_good()
            room = self._window - (self._unanswered.next - self._unanswered.oldest)
            was_full |= room <= 0
            enough = max(1, self._window // _PART_OF_WINDOW) if was_full else 1
            if room >= enough and (self._connection is None or self._connection.writable.is_set()):
                return room
            await self._next_progress(enough - room)

    async def _next_progress(self, answers: int = 1) -> None:
        """Wait for progress; while waiting, fewer answers than that may stay unread."""
        self._raise_if_connection_ended_for_good()
        self._progress.clear()
        connection = self._connection
        if connection is not None:
            connection.wake_for(min(answers, len(self._unanswered)))
        try:
            await self._progress.wait()
        finally:
            if connection is not None:
                connection.wake_for(1)

    def _raise_if_connection_ended_for_good(self) -> None:
        if self._keeper is not None and self._keeper.done():
            self._keeper.result()

    def _send(self, messages: list[Message]) -> None:
        data = packets.publish(messages, self._unanswered.next)
        self._unanswered.add(messages)
        if self._connection is not None:
            self._connection.send(data)

    def _receive(self, answers: list[packets.Acknowledged]) -> None:
        for answer in answers:
            numbers = self._unanswered.settle(answer)
            self.refused += len(numbers) if answer.is_refused else 0
            self.unmatched += len(numbers) if answer.is_unmatched else 0
            if answer.code == 0 and numbers:
                self.acknowledged += len(numbers)
                self._on_acknowledged(numbers)
        self._progress.set()

    async def _connect(self) -> None:
        connection = _Connection(self._hello, self._receive, self._progress)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: connection, *self._address)
                accepted = await connection.accepted
        except BaseException:
            connection.close()
            raise
        self._window = min(self._wanted, accepted.receive_maximum)
        self._connection = connection
        connection.send(b"".join(packets.publish([each], n) for n, each in self._unanswered))
        self._progress.set()

    async def _stay_connected(self) -> None:
        backoff = Backoff()
        while True:
            if self._connection is not None:
                await self._connection.lost.wait()
                self._connection = None
                self.reconnects += 1
            try:
                await self._connect()
                backoff.reset()
            except OSError as error:
                log.warning("broker away", error=str(error), unacknowledged=len(self._unanswered))
                await backoff.wait()


class _Connection(asyncio.Protocol):
    """One connection to the broker."""

    def __init__(
        self,
        hello: bytes,
        on_answers: Callable[[list[packets.Acknowledged]], None],
        progress: asyncio.Event,
    ) -> None:
        self._hello = hello
        self._on_answers = on_answers
        self._progress = progress
        self._reader = packets.PacketReader()
        self._transport: asyncio.Transport | None = None
        self._wakes_for = 1
        self.accepted: asyncio.Future[packets.Accepted] = asyncio.get_running_loop().create_future()
        self.lost = asyncio.Event()
        self.writable = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports behave as asyncio's, without being of their class.
        self._transport = cast("asyncio.Transport", transport)
        keep_alive_by_tcp(transport.get_extra_info("socket"))
        self.writable.set()
        self.send(self._hello)

    def data_received(self, data: bytes) -> None:
        answers = []
        for packet in self._reader.read(data):
            match packet:
                case packets.Acknowledged():
                    answers.append(packet)
                case packets.Accepted():
                    self.accepted.set_result(packet)
                case packets.Refused(code):
                    self._refuse(code)
        if answers:
            self._on_answers(answers)

    def _refuse(self, code: int) -> None:
        if not self.accepted.done():
            self.accepted.set_exception(BrokerRefusedError(f"reason code {code:#x}"))
        self.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.accepted.done():
            self.accepted.set_exception(error or ConnectionResetError("closed before its answer"))
        self.lost.set()
        self._progress.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()
        self._progress.set()

    def wake_for(self, answers: int) -> None:
        """Have the kernel tell of received data only once it can hold so many answers."""
        size = max(1, (answers - 1) * packets.PUBACK_BYTES + 1)  # part of one may have been read
        if size == self._wakes_for or self._transport is None or self._transport.is_closing():
            return
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        self._wakes_for = size

    def send(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
