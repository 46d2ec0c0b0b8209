"""Ingest processes that come, go and are killed, in quick succession."""

from services.operations.drilling.result import Promise
from services.operations.drilling.run import Run
from services.operations.drilling.scenario import Scenario


async def rebalance_storm(run: Run) -> None:
    """Share partitions anew several times while messages flow."""
    stage, rounds = run.stage, 1 if run.quick else 3
    async with run.load() as load:
        await load.reaches(0.1)
        for number in range(rounds):
            run.say(f"round {number + 1}: two join, one is killed, one leaves, all come back")
            await stage.join("ingest-2")
            await stage.kill("ingest-0")
            await stage.join("ingest-3")
            await stage.stop("ingest-1")
            await stage.start("ingest-0")
            await stage.leave("ingest-2")
            await stage.start("ingest-1")
            await stage.leave("ingest-3")


SCENARIOS = (
    Scenario(
        "rebalance-storm", "ingest processes join, leave and are killed",
        (Promise.P1, Promise.P2, Promise.P3), rebalance_storm,
    ),
)  # fmt: skip
