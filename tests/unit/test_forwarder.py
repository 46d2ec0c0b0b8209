"""P1 in the small: order, generations and bounds of the forwarder, without servers."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from services.common.metrics import GatewayMetrics
from services.gateway.forwarder import Bounds, Forwarder
from services.gateway.messages import Chunk, Message

WIDE = Bounds(messages=10_000, size=1_000_000, chunk_messages=3, linger_s=0.0, chunks_at_once=4)


def message(number: int, payload: bytes = b"x") -> Message:
    return b"t", payload, number.to_bytes(2), 1, None


class Kafka:
    """Deliveries that a test answers when, and in the order, it likes."""

    def __init__(self) -> None:
        self.asked: list[Chunk] = []
        self._answers: deque[asyncio.Future[None]] = deque()

    async def deliver(self, chunk: Chunk) -> None:
        self.asked.append(chunk)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        await answer

    def answer(self, index: int) -> None:
        self._answers[index].set_result(None)


async def deliver_at_once(_chunk: Chunk) -> None:
    return


class Run:
    """A forwarder that runs, and what it acknowledged."""

    def __init__(self, bounds: Bounds, deliver: Callable[[Chunk], object]) -> None:
        self.acknowledged: list[Chunk] = []
        self.rooms = 0
        self.forwarder = Forwarder(
            bounds,
            deliver,  # type: ignore[arg-type] # a test's delivery
            self.acknowledged.append,
            self._on_room,
            GatewayMetrics(CollectorRegistry()),
        )

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.forwarder.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    @property
    def numbers(self) -> list[int]:
        return [int.from_bytes(each) for chunk in self.acknowledged for each in chunk.packet_ids]

    def _on_room(self) -> None:
        self.rooms += 1


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@given(order=st.permutations(range(4)))
def test_chunks_are_acknowledged_in_receive_order_whatever_kafka_answers_first(
    order: list[int],
) -> None:
    async def scenario() -> None:
        kafka = Kafka()
        async with Run(WIDE, kafka.deliver) as run:
            for number in range(12):
                run.forwarder.take([message(number)], generation=1)
            await settle()
            assert len(kafka.asked) == 4
            for answered, index in enumerate(order, 1):
                kafka.answer(index)
                await settle()
                settled_prefix = next(
                    (place for place in range(4) if place not in order[:answered]), 4
                )
                assert run.numbers == list(range(3 * settled_prefix))

    asyncio.run(scenario())


async def test_nothing_is_acknowledged_before_kafka_answers() -> None:
    kafka = Kafka()
    async with Run(WIDE, kafka.deliver) as run:
        run.forwarder.take([message(1)], generation=1)
        await settle()
        assert (run.numbers, run.forwarder.in_flight) == ([], 1)
        kafka.answer(0)
        await settle()
        assert (run.numbers, run.forwarder.in_flight, run.rooms) == ([1], 0, 1)


@given(generations=st.lists(st.integers(1, 3), min_size=1, max_size=30).map(sorted))
def test_a_chunk_holds_messages_of_one_connection(generations: list[int]) -> None:
    async def scenario() -> None:
        async with Run(WIDE, deliver_at_once) as run:
            for number, generation in enumerate(generations):
                run.forwarder.take([message(number)], generation)
            await run.forwarder.drained()
            found = [
                (int.from_bytes(packet_id), chunk.generation)
                for chunk in run.acknowledged
                for packet_id in chunk.packet_ids
            ]
            assert found == list(enumerate(generations))
            assert all(len(chunk.messages) <= 3 for chunk in run.acknowledged)

    asyncio.run(scenario())


@given(sizes=st.lists(st.integers(0, 200), max_size=60))
def test_in_flight_is_bounded_by_number_and_bytes_and_returns_to_zero(sizes: list[int]) -> None:
    bounds = Bounds(messages=5, size=300, chunk_messages=2, linger_s=0.0)

    async def scenario() -> None:
        async with Run(bounds, deliver_at_once) as run:
            forwarder = run.forwarder
            for number, size in enumerate(sizes):
                if forwarder.is_full:
                    await forwarder.drained()
                forwarder.take([message(number, b"x" * size)], generation=1)
                assert forwarder.in_flight <= bounds.messages
                assert forwarder.in_flight_size < bounds.size + 201
            await forwarder.drained()
            assert (forwarder.in_flight, forwarder.in_flight_size) == (0, 0)
            assert run.numbers == list(range(len(sizes)))

    asyncio.run(scenario())


async def test_what_delivery_cannot_cope_with_ends_the_forwarder() -> None:
    async def crash(_chunk: Chunk) -> None:
        raise ZeroDivisionError

    run = Run(WIDE, crash)
    run.forwarder.take([message(1)], generation=1)
    task = asyncio.create_task(run.forwarder.run())
    await asyncio.wait({task}, timeout=2)
    error = task.exception()
    assert isinstance(error, ExceptionGroup)
    assert error.subgroup(ZeroDivisionError) is not None
    assert run.numbers == []
