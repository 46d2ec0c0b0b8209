"""The publisher and a broker that answers in any order and in any pieces: no answer is waited for
in vain, however the kernel is told to hold answers back while the window is full."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from zlib import crc32

import pytest

from services.common.publisher import Publisher

CONNACK = bytes.fromhex("20 03 00 00 00")
PUBLISH = 0x32
MESSAGES = 60

Answers = list[bytes]
Order = Callable[[Answers], Answers]


def in_turn(answers: Answers) -> Answers:
    return answers


def backwards(answers: Answers) -> Answers:
    return answers[::-1]


def first_last(answers: Answers) -> Answers:
    return [*answers[1:], *answers[:1]]


def shuffled(answers: Answers) -> Answers:
    return sorted(answers, key=crc32)


def only_the_first(answers: Answers) -> Answers:
    return answers[:1]


class Broker:
    """Answers all that it has read at once, in an order of its own, ``piece`` bytes at a time."""

    def __init__(self, order: Order, piece: int) -> None:
        self._order = order
        self._piece = piece
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly((await reader.readexactly(2))[1])
        writer.write(CONNACK)
        rest = b""
        while read := await reader.read(65_536):
            answers, rest = _pubacks(rest + read)
            await self.may_answer.wait()
            data = b"".join(self._order(answers))
            for start in range(0, len(data), self._piece):
                writer.write(data[start : start + self._piece])
                await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        self.gone.set()


def _pubacks(data: bytes) -> tuple[Answers, bytes]:
    """The answers to the PUBLISH packets that are whole (each is short), and the rest."""
    answers = []
    while len(data) > 1 and len(data) >= (end := 2 + data[1]):
        if data[0] == PUBLISH:
            id_at = 4 + int.from_bytes(data[2:4], "big")
            answers.append(b"\x40\x02" + data[id_at : id_at + 2])
        data = data[end:]
    return answers, data


@asynccontextmanager
async def connected(
    broker: Broker, in_flight: int, acknowledged: list[int]
) -> AsyncIterator[Publisher]:
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Publisher(
        "127.0.0.1",
        port,
        client_id="p",
        in_flight=in_flight,
        on_acknowledged=acknowledged.extend,
    ) as publisher:
        yield publisher
    await broker.gone.wait()
    server.close()


@pytest.mark.parametrize("piece", [1, 3, 4, 1000])
@pytest.mark.parametrize("order", [in_turn, backwards, first_last, shuffled])
@pytest.mark.parametrize("in_flight", [1, 2, 3, 4, 5, 8, 9, 50, 1000])
async def test_every_message_is_told_once(in_flight: int, order: Order, piece: int) -> None:
    acknowledged: list[int] = []
    async with asyncio.timeout(20), connected(Broker(order, piece), in_flight, acknowledged) as it:
        for start in range(0, MESSAGES, 6):
            assert await it.publish([("t", b"%d" % n) for n in range(start, start + 6)]) == start
        await it.drain()
    assert sorted(acknowledged) == list(range(MESSAGES))


async def test_whoever_gave_up_waiting_for_room_holds_no_answer_back() -> None:
    acknowledged: list[int] = []
    broker = Broker(only_the_first, 4)
    broker.may_answer.clear()
    async with asyncio.timeout(20), connected(broker, 8, acknowledged) as it:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await it.publish([("t", b"")] * 9)
        broker.may_answer.set()
        while acknowledged != [0]:
            await asyncio.sleep(0.001)
