"""P1 to P3 under ``kill -9``: what was acknowledged is a row exactly once, and the books say so."""

import asyncio

import pytest

from tests.support.load import Load
from tests.support.mortal import MortalCity, revive, until, until_ready, until_waiting


@pytest.mark.long
async def test_each_process_killed_in_turn(mortal: MortalCity) -> None:
    """P1, P2, P3, P4: gateway, ingest, PostgreSQL and Kafka are killed while messages flow."""
    n, rate = 200_000, 4_000
    await mortal.register()
    gateway = mortal.pipeline.gateway()
    ingest = [mortal.pipeline.ingest("ingest-0"), mortal.pipeline.ingest("ingest-1")]
    victims = [gateway, ingest[0], mortal.postgresql, mortal.kafka]

    async with Load(mortal.pipeline, n, rate=rate, torn=5) as load:
        for share, victim in zip((0.1, 0.25, 0.4, 0.55), victims, strict=True):
            await load.reaches(share)
            await revive(victim)

    assert len(load.acknowledged) == n
    assert len(load.injected) == 5
    balance = await mortal.accounts_for(load)
    assert balance["readings"]["written"] == n
    assert all(server.is_running for server in (gateway, *ingest))


@pytest.mark.long
async def test_a_killed_mosquitto_forgets_only_what_it_still_held(
    mortal: MortalCity, capsys: pytest.CaptureFixture[str]
) -> None:
    """P1, P2, P3: what it acknowledged and had not handed on may be gone; nothing else is."""
    await mortal.register()
    gateway, mosquitto = mortal.pipeline.gateway(), mortal.pipeline.mosquitto
    mortal.pipeline.ingest()

    async with Load(mortal.pipeline, 8_000, rate=1_000) as load:
        await load.reaches(0.4)
        await asyncio.to_thread(mosquitto.kill)
        before = set(load.acknowledged)
        await until_waiting(gateway, "mqtt")
        await asyncio.to_thread(mosquitto.start)
        await until_ready(gateway)
        during = set(load.acknowledged) - before
    await handed_on(mortal, first=load.n)

    lost = load.acknowledged - await mortal.stored()
    with capsys.disabled():
        print(f"\nkill -9 of Mosquitto: {len(lost)} of {load.n} acknowledged messages gone")  # noqa: T201 # the loss is to be seen
    assert not lost - before - during
    assert await mortal.quarantined() == set()
    await mortal.balances()


async def handed_on(mortal: MortalCity, first: int) -> None:
    """Wait until the broker has handed on all that it holds: its queue is in order."""
    async with Load(mortal.pipeline, 1, rate=1, first=first, client_id="marker"):
        pass

    async def marker_is_a_row() -> bool:
        return first in await mortal.stored()

    await until(marker_is_a_row, "the last message of all is a row")
    await mortal.pipeline.until_drained()


@pytest.mark.long
async def test_kafka_killed_while_ingest_is_behind(mortal: MortalCity) -> None:
    """P1, P2, P3: a backlog in Kafka outlives it, and is worked off by itself."""
    await mortal.register()
    mortal.pipeline.gateway()
    ingest = mortal.pipeline.ingest(batch_messages=500)

    async with Load(mortal.pipeline, 12_000, rate=6_000) as load:
        await load.reaches(0.2)
        await asyncio.to_thread(ingest.pause)
        await load.reaches(0.8)
    await until_backlog(mortal, 5_000)
    await asyncio.to_thread(ingest.resume)
    await asyncio.to_thread(mortal.kafka.kill)
    await until_waiting(ingest, "Kafka")
    await asyncio.to_thread(mortal.kafka.start)

    await until_ready(ingest)
    await mortal.accounts_for(load)


async def until_backlog(mortal: MortalCity, n: int) -> None:
    async def is_behind() -> bool:
        return await mortal.pipeline.lag() >= n

    await until(is_behind, f"{n} messages wait in Kafka")


async def test_every_message_sent_twice_through_two_gateways(mortal: MortalCity) -> None:
    """P2, P3: the second copy of each is a duplicate and counted as one."""
    await mortal.register()
    gateways = [mortal.pipeline.gateway(f"gateway-{slot}") for slot in (0, 1)]
    for name in ("ingest-0", "ingest-1"):
        mortal.pipeline.ingest(name)

    async with Load(mortal.pipeline, 5_000, rate=2_500, copies=2) as load:
        pass

    await mortal.accounts_for(load)
    await mortal.pipeline.until_consumed(10_000)
    readings = (await mortal.balances())["readings"]
    assert (readings["written"], readings["duplicate"]) == (5_000, 5_000)
    assert all(gateway.is_running for gateway in gateways)
