"""Ends a slot for good: what the broker still holds for it goes to Kafka first."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from services.common import kafka
from services.common.health import Health
from services.common.metrics import GatewayMetrics
from services.common.settings import Settings
from services.gateway.gateway import SIDES, Gateway, close_client, subscriptions
from services.gateway.readiness import Readiness

_CONNECT_TIMEOUT_S = 15.0
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Retired:
    """A slot that is no more. ``drained``: messages that were brought into Kafka on the way."""

    slot: str
    had_session: bool
    drained: int


class SlotInUseError(Exception):
    """A running gateway took its slot back; nothing was ended, nothing is lost."""


async def retire(
    settings: Settings, slot: str, *, settle_s: float = 4.0, quiet_s: float = 2.0
) -> Retired:
    """Drain a slot's session into Kafka and end it.

    1. Take the session over, as a second gateway of that name would.
    2. Forward for ``settle_s``: a gateway that still runs takes its session back within two
       seconds, by which it is known to run (SlotInUseError; Mosquitto 2.0 does not say who took a
       session, so any loss of the connection counts).
    3. Leave the shared subscriptions, so that the broker gives the slot nothing new. If it was the
       last slot, messages go nowhere from here on until another gateway is started.
    4. Forward until nothing has come for ``quiet_s`` and all of it is acknowledged.
    5. End the session.

    Raises KafkaConnectionError or ConnectionError where a server cannot be reached, SlotInUseError,
    MissingSecretError, TimeoutError.
    """
    health, metrics = Health(), GatewayMetrics(CollectorRegistry())
    client = kafka.client(settings, f"citytally-retire-{slot}")
    try:
        await client.bootstrap()
        readiness = Readiness(health, SIDES)
        gateway = Gateway(settings, slot, client, readiness, metrics, subscribes=False)
        running = asyncio.create_task(gateway.run(), name=f"retire {slot}")
        try:
            return await _drain_and_end(settings, slot, gateway, health, (settle_s, quiet_s))
        finally:
            running.cancel()
            await asyncio.wait({running})
    finally:
        await close_client(client)


async def _drain_and_end(
    settings: Settings, slot: str, gateway: Gateway, health: Health, waits: tuple[float, float]
) -> Retired:
    subscriber, forwarder = gateway.subscriber, gateway.forwarder
    await _connected(gateway, health)
    had_session = subscriber.session_was_present
    if had_session:
        settle_s, quiet_s = waits
        await _hold(gateway, slot, _after(settle_s))
        await _leave(gateway, slot, subscriptions(settings))
        await _hold(gateway, slot, _quiet(gateway, quiet_s))
    await subscriber.disconnect(end_session=True)
    return Retired(slot, had_session, forwarder.settled)


async def _connected(gateway: Gateway, health: Health) -> None:
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await gateway.subscriber.connected.wait()
    except TimeoutError as error:
        raise ConnectionError(f"the MQTT broker does not let us in: {health.reason}") from error


async def _hold(gateway: Gateway, slot: str, is_over: Callable[[], bool]) -> None:
    """Forward until it is over, and give way to a gateway that wants its slot back."""
    while not is_over():
        if gateway.subscriber.losses:
            raise _in_use(slot)
        await asyncio.sleep(_LOOK_EVERY_S)


async def _leave(gateway: Gateway, slot: str, filters: tuple[str, ...]) -> None:
    try:
        await gateway.subscriber.unsubscribe(filters)
    except ConnectionResetError as error:
        raise _in_use(slot) from error


def _in_use(slot: str) -> SlotInUseError:
    return SlotInUseError(
        f"{slot} is in use: its session was taken back, as a running gateway does. Stop that "
        "gateway, then retire its slot"
    )


def _after(seconds: float) -> Callable[[], bool]:
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    return lambda: clock() >= end


def _quiet(gateway: Gateway, seconds: float) -> Callable[[], bool]:
    """Return whether nothing has come for so long, and nothing is in flight."""
    clock = asyncio.get_running_loop().time
    last_count, since = gateway.subscriber.received, clock()

    def is_quiet() -> bool:
        nonlocal last_count, since
        if gateway.subscriber.received != last_count or gateway.forwarder.in_flight:
            last_count, since = gateway.subscriber.received, clock()
        return clock() - since >= seconds

    return is_quiet
