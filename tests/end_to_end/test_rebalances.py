"""P1, P2: ingest processes come and go, the database is away meanwhile; no duplicate, no loss."""

import asyncio

import pytest

from tests.support.load import Load
from tests.support.mortal import (
    MortalCity,
    exit_code,
    revive,
    start,
    stop,
    until,
    until_ready,
    until_waiting,
)
from tests.support.servers import Server


async def joined(mortal: MortalCity, name: str) -> Server:
    return await asyncio.to_thread(mortal.pipeline.ingest, name)


@pytest.mark.long
async def test_processes_join_leave_and_are_killed(mortal: MortalCity) -> None:
    """P1, P2, P3: one to three processes share the partitions in turn."""
    n, rate = 200_000, 5_000
    await mortal.register()
    mortal.pipeline.gateway()
    first = mortal.pipeline.ingest("ingest-0")

    async with Load(mortal.pipeline, n, rate=rate, torn=3) as load:
        await load.reaches(0.1)
        second, third = await joined(mortal, "ingest-1"), await joined(mortal, "ingest-2")
        await load.reaches(0.3)
        assert await exit_code(first, within_s=10) == 0
        await load.reaches(0.5)
        await revive(second)
        await load.reaches(0.7)
        await start(first)

    await mortal.accounts_for(load)
    assert all(server.is_running for server in (first, second, third))


@pytest.mark.long
async def test_rebalanced_while_the_database_is_away(mortal: MortalCity) -> None:
    """P1, P2, P5: who holds a batch of partitions that it lost drops it; their new owner reads."""
    await mortal.register()
    mortal.pipeline.gateway()
    first, second = mortal.pipeline.ingest("ingest-0"), mortal.pipeline.ingest("ingest-1")

    async with Load(mortal.pipeline, 6_000, rate=600) as load:
        await load.reaches(0.2)
        await stop(mortal.postgresql)
        for process in (first, second):
            await until_waiting(process, "database")
        third = await asyncio.to_thread(mortal.pipeline.ingest, "ingest-2", wait=False)
        await until_waiting(third, "database")
        await asyncio.to_thread(second.kill)
        await load.seconds(2)
        await start(mortal.postgresql)
        await until_ready(first)
        await until_ready(third)

    await mortal.accounts_for(load)
    assert first.is_running
    assert third.is_running


@pytest.mark.long
async def test_a_process_that_hangs_loses_its_partitions(mortal: MortalCity) -> None:
    """P2: frozen past its session it wakes up with a batch that others have stored; the fence."""
    await mortal.register()
    mortal.pipeline.gateway()
    frozen, other = mortal.pipeline.ingest("ingest-0"), mortal.pipeline.ingest("ingest-1")

    async with Load(mortal.pipeline, 5_000, rate=500) as load:
        await load.reaches(0.2)
        await asyncio.to_thread(frozen.pause)
        await load.reaches(0.6)
        await mortal.all_stored(load)
        await asyncio.to_thread(frozen.resume)
        await load.passes(len(load.acknowledged) + 20)

    await mortal.accounts_for(load)
    assert frozen.is_running
    assert other.is_running


async def test_two_groups_on_one_database(mortal: MortalCity) -> None:
    """P2, P3: both read every message; the fence lets each be stored by one of them."""
    await mortal.register()
    mortal.pipeline.gateway()
    ours = mortal.pipeline.ingest("ingest-0")
    theirs = mortal.pipeline.ingest("ingest-1", consumer_group="another-group")

    async with Load(mortal.pipeline, 3_000, rate=1_500) as load:
        pass

    balance = await mortal.accounts_for(load)
    assert balance["messages"]["decoded"] == sum((await mortal.pipeline.ends()).values())
    assert balance["readings"]["duplicate"] == 0
    assert ours.is_running
    assert theirs.is_running


async def test_a_backlog_is_shared_by_those_who_join(mortal: MortalCity) -> None:
    """P1, P2: three processes begin at once on what has gathered without any."""
    await mortal.register()
    mortal.pipeline.gateway()
    async with Load(mortal.pipeline, 10_000, rate=10_000) as load:
        pass

    async def all_in_kafka() -> bool:
        return sum((await mortal.pipeline.ends()).values()) >= 10_000

    await until(all_in_kafka, "all messages are in Kafka")
    processes = await asyncio.gather(*(joined(mortal, f"ingest-{n}") for n in range(3)))

    await mortal.accounts_for(load)
    assert all(process.is_running for process in processes)
