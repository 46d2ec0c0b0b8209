"""``kill -9`` of each process in turn, while messages flow."""

from services.operations.drilling.load import Load
from services.operations.drilling.questions import somebody_waits
from services.operations.drilling.readings import Row
from services.operations.drilling.result import Promise
from services.operations.drilling.run import Run
from services.operations.drilling.scenario import Scenario

AUTOSAVE_S, AUTOSAVE_GRACE_S = 5.0, 2.0
"""How often Mosquitto saves what it holds (``stack.mosquitto``), and how long it may take."""

P1, P2, P3, P5 = Promise.P1, Promise.P2, Promise.P3, Promise.P5


async def gateway_killed(run: Run) -> None:
    """Kill it with messages in its hands that Kafka has not answered for: they must come again."""
    stage = run.stage
    async with run.load() as load:
        await load.reaches(0.1)
        run.say("Kafka is frozen, so that the gateway holds messages without an answer")
        await stage.pause("kafka")
        await load.reaches(0.4)
        await load.seconds(0.5)
        run.say("kill -9 of the gateway; Kafka goes on; the gateway is started again")
        await stage.kill("gateway-0")
        await stage.resume("kafka")
        await stage.start("gateway-0")
        await load.reaches(0.6)
        run.say("kill -9 of the gateway once more, in the middle of its work")
        await stage.kill("gateway-0")
        await stage.start("gateway-0")


async def ingest_killed(run: Run) -> None:
    """Kill it inside its transaction: the offsets must not have moved."""
    stage = run.stage
    both = ("ingest-0", "ingest-1")
    async with run.load() as load:
        await load.reaches(0.1)
        run.say("the hypertable is locked, so that ingest is in the middle of a transaction")
        async with stage.readings_locked():
            await stage.until(somebody_waits(stage), "ingest waits for the hypertable")
            await load.reaches(0.3)
            run.say("kill -9 of both ingest processes; both are started again")
            await stage.kill(*both)
        await stage.start(*both)
        if run.quick:
            return
        await load.reaches(0.6)
        run.say("kill -9 of one of them, in the middle of its work")
        await stage.kill("ingest-1")
        await stage.start("ingest-1")


async def postgresql_killed(run: Run) -> None:
    """Kill the database under load: what it had committed is there, what not is stored anew."""
    await _revived_under_load(run, "postgresql")


async def kafka_killed(run: Run) -> None:
    """Kill Kafka under load: what it had answered for is in its log."""
    await _revived_under_load(run, "kafka")


async def _revived_under_load(run: Run, name: str) -> None:
    async with run.load() as load:
        await load.reaches(0.2)
        run.say(f"kill -9 of {name}, with its children; it is started again")
        await run.stage.kill(name)
        await load.seconds(0.5)
        await run.stage.start(name)
        await run.stage.ready("gateway-0", "ingest-0", "ingest-1")


async def mosquitto_killed(run: Run) -> None:
    """Kill the broker with a queue: what came since its last save may be gone, and is counted.

    The gateway dies with it, or it would still read what stands in its socket.
    """
    stage = run.stage
    async with run.load() as load:
        await load.reaches(0.3)
        run.say("the gateway is frozen, so that the broker holds messages that it acknowledged")
        await stage.pause("gateway-0")
        await load.reaches(0.5)
        saved = await _saved_rows(run, load)
        run.say("kill -9 of Mosquitto and the gateway together; both are started again")
        await stage.kill("mosquitto", "gateway-0")
        await stage.start("mosquitto")
        await stage.start("gateway-0")
        run.may_be_lost = load.rows - saved


async def _saved_rows(run: Run, load: Load) -> set[Row]:
    """Wait past an autosave, if there is time, and return what it must have covered."""
    if run.quick:
        return set()
    saved = set(load.rows)
    await load.seconds(AUTOSAVE_S + AUTOSAVE_GRACE_S)
    run.say(f"{len(saved)} messages were acknowledged before its last autosave")
    return saved


SCENARIOS = (
    Scenario(
        "gateway-killed", "kill -9 of the gateway, with messages in its hands",
        (P1, P2, P3), gateway_killed, quick=True,
    ),
    Scenario(
        "ingest-killed", "kill -9 of ingest, inside its transaction",
        (P1, P2, P3), ingest_killed, quick=True,
    ),
    Scenario(
        "postgresql-killed", "kill -9 of PostgreSQL under load",
        (P1, P2, P3, P5), postgresql_killed, quick=True,
    ),
    Scenario("kafka-killed", "kill -9 of Kafka under load", (P1, P2, P3), kafka_killed, quick=True),
    Scenario(
        "mosquitto-killed", "kill -9 of Mosquitto, which may forget what it held",
        (P2, P3), mosquitto_killed, quick=True,
    ),
)  # fmt: skip
