"""A server that is away, frozen, locked or restarted is waited for; nothing is lost or refused."""

import asyncio
from collections.abc import Awaitable, Callable

from services.operations.drilling.result import Promise
from services.operations.drilling.run import Run
from services.operations.drilling.scenario import Scenario

P1, P2, P3, P5 = Promise.P1, Promise.P2, Promise.P3, Promise.P5


async def database_stopped(run: Run) -> None:
    """Stop the database for some seconds under load."""
    stage, outage_s = run.stage, 2 if run.quick else 15
    async with run.load() as load:
        await load.reaches(0.1)
        run.say(f"PostgreSQL is stopped for {outage_s} s")
        await stage.stop("postgresql")
        await stage.waiting("ingest-0", "database")
        await load.seconds(outage_s)
        ready = await asyncio.to_thread(stage.server("gateway-0").description.is_ready)
        run.found(P5, ready, f"the gateway is {'' if ready else 'not '}ready without the database")
        await stage.start("postgresql")
        await stage.ready("ingest-0", "ingest-1")
        run.say("ingest goes on by itself")


async def kafka_frozen(run: Run) -> None:
    """Freeze Kafka past its clients' time limits: what it took twice is a duplicate."""
    stage, pause_s = run.stage, 5 if run.quick else 20
    async with run.load() as load:
        await load.reaches(0.1)
        run.say(f"Kafka is frozen (SIGSTOP) for {pause_s} s")
        await stage.pause("kafka")
        await load.seconds(pause_s)
        await stage.resume("kafka")
        await stage.ready("gateway-0", "ingest-0", "ingest-1")


async def slow_database(run: Run) -> None:
    """Hold a lock on the hypertable until ingest's statement is cancelled for taking too long."""
    stage = run.stage
    async with run.load() as load:
        await load.reaches(0.1)
        run.say("the hypertable is locked until ingest's time limit ends its statement")
        async with stage.readings_locked():
            await stage.until(_gave_up(run), "ingest says that its statement was cancelled")
        await stage.ready("ingest-0", "ingest-1")


def _gave_up(run: Run) -> Callable[[], Awaitable[bool]]:
    async def says_so() -> bool:
        reasons = [await asyncio.to_thread(run.stage.reason, name)
                   for name in ("ingest-0", "ingest-1")]  # fmt: skip
        return any("QueryCanceled" in (reason or "") for reason in reasons)

    return says_so


async def session_away(run: Run) -> None:
    """Restart the broker while the gateway is away: its session must keep what was queued."""
    stage = run.stage
    async with run.load() as load:
        await load.reaches(0.1)
        run.say("the gateway is stopped; the broker queues for its session")
        await stage.stop("gateway-0")
        await load.reaches(0.5)
        run.say("Mosquitto is restarted while the gateway is away")
        await stage.stop("mosquitto")
        await stage.start("mosquitto")
        await load.seconds(1)
        await stage.start("gateway-0")
    told = load.unmatched
    run.say(f"{told} messages were answered with 'no matching subscribers': their sender knows")


SCENARIOS = (
    Scenario(
        "database-stopped", "PostgreSQL stopped under load", (P1, P2, P3, P5), database_stopped,
        quick=True,
    ),
    Scenario("kafka-frozen", "Kafka frozen past all time limits", (P1, P2, P3), kafka_frozen),
    Scenario(
        "slow-database", "a lock on the hypertable, longer than a statement may take",
        (P1, P2, P3, P5), slow_database,
    ),
    Scenario(
        "session-away", "the broker restarted while the gateway is away", (P1, P2, P3),
        session_away, quick=True,
    ),
)  # fmt: skip
