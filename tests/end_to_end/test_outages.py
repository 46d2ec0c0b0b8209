"""P5: a server that is away is not bad data. We wait, say so, lose nothing, go on by ourselves."""

import asyncio

import pytest

from tests.support.backups import restore_backup, take_backup
from tests.support.load import Load
from tests.support.mortal import (
    MortalCity,
    connections_refused,
    exit_code,
    locked,
    start,
    stop,
    until,
    until_ready,
    until_waiting,
)

SHORT = pytest.param(3, id="3s")
LONG = pytest.param(60, id="60s", marks=pytest.mark.long)


@pytest.mark.parametrize("outage_s", [SHORT, LONG])
async def test_postgresql_stopped_under_load(mortal: MortalCity, outage_s: int) -> None:
    """P1, P2, P5: not ready with the reason meanwhile; afterwards it catches up by itself."""
    await mortal.register()
    gateway, ingest = mortal.pipeline.gateway(), mortal.pipeline.ingest()

    async with Load(mortal.pipeline, 500 * outage_s, rate=300) as load:
        await load.reaches(0.1)
        await stop(mortal.postgresql)
        await until_waiting(ingest, "database")
        await load.seconds(outage_s)
        await until_waiting(ingest, "database")
        assert gateway.description.is_ready(), "the gateway does not depend on the database"
        await start(mortal.postgresql)
        await until_ready(ingest)

    await mortal.accounts_for(load)


@pytest.mark.long
async def test_postgresql_frozen_under_load(mortal: MortalCity) -> None:
    """P2, P5: a server that answers nothing is away; what it may have committed is not repeated."""
    await mortal.register()
    mortal.pipeline.gateway()
    ingest = mortal.pipeline.ingest(statement_timeout_s=1)

    async with Load(mortal.pipeline, 5_000, rate=500) as load:
        await load.reaches(0.2)
        await asyncio.to_thread(mortal.postgresql.pause)
        await until_waiting(ingest, "database: TimeoutError")
        await asyncio.to_thread(mortal.postgresql.resume)
        await until_ready(ingest)

    await mortal.accounts_for(load)


async def test_a_frozen_database_is_told_long_before_a_statement_times_out(
    mortal: MortalCity,
) -> None:
    """P5: a database that takes connections and answers nothing shows within seconds."""
    await mortal.register()
    ingest = mortal.pipeline.ingest()

    await asyncio.to_thread(mortal.postgresql.pause)
    await until_waiting(ingest, "waiting for the database")
    await asyncio.to_thread(mortal.postgresql.resume)
    await until_ready(ingest)

    assert "TimeoutError" not in ingest.log_tail(10_000)


@pytest.mark.long
async def test_kafka_frozen_under_load(mortal: MortalCity) -> None:
    """P1, P2, P3: requests time out and are sent again; what Kafka took twice is a duplicate."""
    await mortal.register()
    gateway, ingest = mortal.pipeline.gateway(), mortal.pipeline.ingest()

    async with Load(mortal.pipeline, 10_000, rate=500) as load:
        await load.reaches(0.1)
        await asyncio.to_thread(mortal.kafka.pause)
        await until_waiting(gateway, "kafka")
        await until_waiting(ingest, "Kafka")
        await until_waiting(gateway, "delivery")
        await asyncio.to_thread(mortal.kafka.resume)
        await until_ready(gateway)
        await until_ready(ingest)

    await mortal.accounts_for(load)


@pytest.mark.long
async def test_a_lock_on_the_hypertable(mortal: MortalCity) -> None:
    """P5: a statement that is cancelled for taking too long (57014) is tried again."""
    await mortal.register()
    mortal.pipeline.gateway()
    ingest = mortal.pipeline.ingest(statement_timeout_s=1)

    async with Load(mortal.pipeline, 3_000, rate=500) as load:
        await load.reaches(0.2)
        async with locked(mortal, "environmental_readings"):
            await until_waiting(ingest, "QueryCanceled")
        await until_ready(ingest)

    await mortal.accounts_for(load)


@pytest.mark.long
async def test_the_database_restored_to_an_older_backup(mortal: MortalCity) -> None:
    """P1, P2, P3: its offsets rule, so Kafka is read again from there, and no gap is booked."""
    await mortal.register()
    mortal.pipeline.gateway()
    ingest = [mortal.pipeline.ingest("ingest-0"), mortal.pipeline.ingest("ingest-1")]

    async with Load(mortal.pipeline, 6_000, rate=500) as load:
        await load.reaches(0.2)
        backup = await asyncio.to_thread(take_backup, mortal.postgresql)
        in_backup = await mortal.pipeline.consumed()
        await load.reaches(0.6)
        await mortal.pipeline.until_consumed(in_backup + 1_000)
        await asyncio.to_thread(restore_backup, mortal.postgresql, backup)

    balance = await mortal.accounts_for(load)
    assert balance["readings"]["written"] == 6_000
    assert all(server.is_running for server in ingest)


@pytest.mark.long
async def test_a_backup_restored_while_nothing_comes(mortal: MortalCity) -> None:
    """P1: what Kafka holds beyond the backup is read again, though no new message wakes us."""
    await mortal.register()
    mortal.pipeline.gateway()
    mortal.pipeline.ingest()
    backup = await asyncio.to_thread(take_backup, mortal.postgresql)
    async with Load(mortal.pipeline, 500, rate=500) as load:
        pass
    await mortal.all_stored(load)

    await asyncio.to_thread(restore_backup, mortal.postgresql, backup)

    await mortal.accounts_for(load)


async def test_a_database_full_of_connections_at_start(mortal: MortalCity) -> None:
    """P5: `too many connections` (53300) is waited out."""
    await mortal.register()
    mortal.pipeline.gateway()
    async with connections_refused(mortal, "citytally_ingest"):
        ingest = await asyncio.to_thread(mortal.pipeline.ingest, wait=False)
        await until_waiting(ingest, "TooManyConnections")
        async with Load(mortal.pipeline, 200, rate=500) as load:
            pass

    await until_ready(ingest)
    await mortal.accounts_for(load)


@pytest.mark.long
async def test_everything_away_at_start(mortal: MortalCity) -> None:
    """P5: gateway and ingest wait for Kafka and PostgreSQL, say for which, and go on."""
    await mortal.register()
    await stop(mortal.kafka)
    await stop(mortal.postgresql)
    gateway = await asyncio.to_thread(mortal.pipeline.gateway, wait=False)
    ingest = await asyncio.to_thread(mortal.pipeline.ingest, wait=False)
    await until_waiting(gateway, "kafka")
    await until_waiting(ingest, "Kafka")
    await start(mortal.kafka)
    await until_ready(gateway)
    await until_waiting(ingest, "database")
    await start(mortal.postgresql)

    async with Load(mortal.pipeline, 500, rate=500) as load:
        await until_ready(ingest)

    await mortal.accounts_for(load)


@pytest.mark.long
async def test_sigterm_under_load(mortal: MortalCity) -> None:
    """P1, P2: gateway and ingest finish what is under way and exit 0 within seconds."""
    await mortal.register()
    gateway, ingest = mortal.pipeline.gateway(), mortal.pipeline.ingest()

    async with Load(mortal.pipeline, 10_000, rate=2_000) as load:
        await load.reaches(0.3)
        assert await exit_code(ingest, within_s=8) == 0
        await load.reaches(0.6)
        assert await exit_code(gateway, within_s=8) == 0
        await start(ingest)
        await start(gateway)

    await mortal.accounts_for(load)


@pytest.mark.parametrize("away", ["stopped", pytest.param("frozen", marks=pytest.mark.long)])
async def test_sigterm_while_the_database_is_away(mortal: MortalCity, away: str) -> None:
    """P1, P5: the batch that waits is let go and read again."""
    await mortal.register()
    mortal.pipeline.gateway()
    ingest = mortal.pipeline.ingest()

    async with Load(mortal.pipeline, 3_000, rate=1_000) as load:
        await load.reaches(0.3)
        frozen = away == "frozen"
        await asyncio.to_thread(mortal.postgresql.pause if frozen else mortal.postgresql.stop)
        await until_backlog(mortal)
        assert await exit_code(ingest, within_s=18 if frozen else 5) == 0
        await asyncio.to_thread(mortal.postgresql.resume if frozen else mortal.postgresql.start)
        await start(ingest)

    await mortal.accounts_for(load)


@pytest.mark.long
async def test_sigterm_while_kafka_is_away(mortal: MortalCity) -> None:
    """P1: neither process hangs; what the gateway holds stays with the broker."""
    await mortal.register()
    gateway, ingest = mortal.pipeline.gateway(gateway_drain_s=2), mortal.pipeline.ingest()

    async with Load(mortal.pipeline, 3_000, rate=1_000) as load:
        await load.reaches(0.3)
        await stop(mortal.kafka)
        await until_waiting(ingest, "Kafka")
        assert await exit_code(ingest, within_s=15) == 0
        assert await exit_code(gateway, within_s=12) == 0
        await start(mortal.kafka)
        await start(ingest)
        await start(gateway)

    await mortal.accounts_for(load)


async def until_backlog(mortal: MortalCity) -> None:
    """Wait until Kafka holds more than when the database went away."""
    before = sum((await mortal.pipeline.ends()).values())

    async def has_grown() -> bool:
        return sum((await mortal.pipeline.ends()).values()) > before

    await until(has_grown, "Kafka's log grows")
