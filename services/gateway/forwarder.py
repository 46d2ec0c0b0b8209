"""Carries messages to Kafka in chunks and has them acknowledged in the order they came."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from services.common.metrics import GatewayMetrics
from services.gateway.messages import QOS, Chunk, Message, is_marked_duplicate


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be in flight, and how chunks are cut.

    ``chunks_at_once`` are on their way to Kafka: it works on one request of a connection at a time,
    and another is there when it is done. What comes meanwhile travels together, which is cheaper.
    """

    messages: int
    size: int
    chunk_messages: int
    linger_s: float
    chunks_at_once: int = 2


class Forwarder:
    """Forwards what it takes, in order.

    For every message that ``take`` is given, it promises:

    1. It counts as in flight, by number and bytes, and stands in a chunk of its connection.
    2. Its chunk is delivered: ``deliver`` returns once Kafka has answered for all of it.
    3. All chunks that began earlier are settled first.
    4. Its chunk is acknowledged (``acknowledge``), and only then.
    5. It is no longer in flight, and ``on_room`` lets reading go on.
    """

    def __init__(
        self,
        bounds: Bounds,
        deliver: Callable[[Chunk], Awaitable[None]],
        acknowledge: Callable[[Chunk], None],
        on_room: Callable[[], None],
        metrics: GatewayMetrics,
    ) -> None:
        self._bounds = bounds
        self._deliver = deliver
        self._acknowledge = acknowledge
        self._on_room = on_room
        self._metrics = metrics
        self._gathered: deque[Chunk] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._places = asyncio.Semaphore(bounds.chunks_at_once)
        self._on_their_way: asyncio.Queue[tuple[Chunk, asyncio.Task[None]]] = asyncio.Queue()
        self.in_flight = 0
        self.in_flight_size = 0
        self.settled = 0
        # Asked for at each scrape, so that what waits uncounted in chunks is seen as well.
        metrics.in_flight.set_function(lambda: self.in_flight)
        metrics.in_flight_bytes.set_function(lambda: self.in_flight_size)

    @property
    def is_full(self) -> bool:
        """Whether a bound is reached: nothing more may be read."""
        return self.in_flight >= self._bounds.messages or self.in_flight_size >= self._bounds.size

    @property
    def room(self) -> int:
        """How many messages may be read now; the last of them may exceed the bound of bytes."""
        return 0 if self.is_full else self._bounds.messages - self.in_flight

    def take(self, messages: Sequence[Message], generation: int) -> None:
        """Take messages that came, in this order, on the connection of this generation."""
        start = 0
        while start < len(messages):
            chunk = self._open_chunk(generation)
            stop = start + self._bounds.chunk_messages - len(chunk.messages)
            self.in_flight_size += chunk.add(messages[start:stop])
            start = stop
        self.in_flight += len(messages)

    def _open_chunk(self, generation: int) -> Chunk:
        """Return a chunk of this connection that has room, a new one if need be."""
        chunk = self._gathered[-1] if self._gathered else None
        if (
            chunk is None
            or chunk.generation != generation
            or len(chunk.messages) >= self._bounds.chunk_messages
        ):
            chunk = self._begin_chunk(generation)
        return chunk

    async def run(self) -> None:
        """Carry chunks until cancelled. Raises what ``deliver`` cannot cope with."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._settle_in_order(), name="settle chunks")
            await self._send_off(tasks)

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        await self._idle.wait()

    def _begin_chunk(self, generation: int) -> Chunk:
        chunk = Chunk(generation, time.time_ns() // 1_000_000)
        self._gathered.append(chunk)
        self._arrived.set()
        self._idle.clear()
        return chunk

    async def _send_off(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._places.acquire()
            chunk = await self._next_chunk()
            self._count_arrival(chunk)
            task = tasks.create_task(self._timed_delivery(chunk), name="deliver a chunk")
            self._on_their_way.put_nowait((chunk, task))

    async def _next_chunk(self) -> Chunk:
        """Wait for a chunk, let it gather company, and take it off."""
        await self._arrived.wait()
        if len(self._gathered) == 1:
            await asyncio.sleep(self._bounds.linger_s)
        chunk = self._gathered.popleft()
        if not self._gathered:
            self._arrived.clear()
        return chunk

    async def _timed_delivery(self, chunk: Chunk) -> None:
        with self._metrics.chunk_latency.time():
            await self._deliver(chunk)

    async def _settle_in_order(self) -> None:
        while True:
            chunk, delivery = await self._on_their_way.get()
            await delivery
            self._acknowledge(chunk)
            self._release(chunk)

    def _release(self, chunk: Chunk) -> None:
        self.in_flight -= len(chunk.messages)
        self.in_flight_size -= chunk.size
        self.settled += len(chunk.messages)
        self._places.release()
        self._metrics.forwarded.inc(len(chunk.messages))
        if self.in_flight == 0:
            self._idle.set()
        self._on_room()

    def _count_arrival(self, chunk: Chunk) -> None:
        flags = Counter(chunk.flags)
        wants_no_answer = sum(n for each, n in flags.items() if not each & QOS)
        self._metrics.received.inc(len(chunk.messages) - wants_no_answer)
        self._metrics.received_qos0.inc(wants_no_answer)
        self._metrics.received_bytes.inc(chunk.size)
        self._metrics.duplicate_flag.inc(
            sum(n for each, n in flags.items() if is_marked_duplicate(each))
        )
