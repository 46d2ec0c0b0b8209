"""The publisher on a real Mosquitto: it knows exactly what was acknowledged."""

import asyncio
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from services.common.mqtt import BrokerRefusedError
from services.common.publisher import Publisher
from services.gateway.retire import retire
from tests.support.gateways import Gateways, gateways
from tests.support.servers import KafkaServer, MosquittoServer


def publisher(
    broker: MosquittoServer, user: str = "operator", password: str | None = None, **options: object
) -> Publisher:
    return Publisher(
        broker.host,
        broker.port,
        client_id=uuid4().hex,
        user=user,
        password=password or broker.password(user),
        **options,  # type: ignore[arg-type] # what a test changes
    )


async def test_what_nobody_has_subscribed_to_is_told_apart(mosquitto: MosquittoServer) -> None:
    acknowledged: list[int] = []
    async with publisher(mosquitto, on_acknowledged=acknowledged.extend) as made:
        first = await made.publish([("citytally/nobody", b"")] * 10)
        await made.drain(5)
        assert (first, made.acknowledged, made.unmatched, made.unacknowledged) == (0, 0, 10, 0)
    assert acknowledged == []


async def test_what_an_account_may_not_write_is_told_apart(mosquitto: MosquittoServer) -> None:
    mosquitto.add_account("probe-1", "a secret")
    async with publisher(mosquitto, "probe-1") as made:
        await made.publish([("citytally/v1/broadband/probe-2", b"")] * 3)
        await made.drain(5)
        assert (made.acknowledged, made.refused) == (0, 3)


async def test_a_wrong_password_is_an_error(mosquitto: MosquittoServer) -> None:
    with pytest.raises(BrokerRefusedError):
        async with publisher(mosquitto, password="wrong"):  # noqa: S106 # wrong on purpose
            pass


async def test_no_broker_is_an_error() -> None:
    with pytest.raises(OSError, match="Connect"):
        async with Publisher("127.0.0.1", 1, client_id="nobody"):
            pass


async def test_more_messages_than_packet_ids_are_numbered_and_acknowledged_once(
    session: Gateways,
) -> None:
    acknowledged: list[int] = []
    async with session.publisher(acknowledged, in_flight=2_000) as made:
        for start in range(0, 70_000, 1_000):
            assert await made.publish(session.messages(range(start, start + 1_000))) == start
            assert made.unacknowledged <= 2_000
        await made.drain(30)
    assert sorted(acknowledged) == list(range(70_000))


async def test_a_restarted_broker_gets_again_what_it_had_not_acknowledged(
    own_session: Gateways,
) -> None:
    acknowledged: list[int] = []
    async with own_session.publisher(acknowledged) as made:
        await made.publish(own_session.messages(range(500)))
        own_session.mosquitto.kill()
        sending = asyncio.create_task(made.publish(own_session.messages(range(500, 3_000))))
        await asyncio.to_thread(own_session.mosquitto.start)
        await sending
        await made.drain(10)
        assert made.reconnects == 1
        assert len(acknowledged) == len(set(acknowledged)) == made.acknowledged
        assert made.acknowledged + made.unmatched == 3_000


@pytest.fixture
def session(mosquitto: MosquittoServer, kafka: KafkaServer) -> Iterator[Gateways]:
    """A session that queues what is published, without a gateway that reads it."""
    with gateways(mosquitto, kafka) as made:
        made.start().stop()
        yield made
        asyncio.run(retire(made.settings, made.slot("gateway-0"), settle_s=0, quiet_s=0.2))


@pytest.fixture
def own_session(
    new_mosquitto: Callable[[], MosquittoServer], kafka: KafkaServer
) -> Iterator[Gateways]:
    with gateways(new_mosquitto(), kafka) as made:
        made.start().stop()
        yield made
