"""Bad messages and copies: each harms only itself, and is counted."""

import statistics
import time
from collections.abc import Iterator

from services.operations.drilling import questions
from services.operations.drilling.readings import FLOOD, Row, Sent, bad_of_each_kind, poisoned, torn
from services.operations.drilling.result import Promise
from services.operations.drilling.run import Run
from services.operations.drilling.scenario import Scenario

P1, P2, P3, P4 = Promise.P1, Promise.P2, Promise.P3, Promise.P4
FLOOD_PER_S = 1_000
SLACK_S = 1.0
"""How much later a neighbour of a flooding device may be seen: a batch or two on a busy machine."""


async def sent_twice(run: Run) -> None:
    """Send every message twice: the second copy is a duplicate and counted as one."""
    once = run.readings(run.messages)
    run.duplicates = len(once)
    run.say(f"{len(once)} readings are sent twice each")
    await run.publish([copy for each in once for copy in (each, each)])


async def bad_rows(run: Run) -> None:
    """Put messages that are wrong in every way among sound ones."""
    run.exactly_once = True
    sound = run.readings(run.messages)
    every = max(1, len(sound) // (20 if run.quick else 100))
    mixed = [one for n, each in enumerate(sound) for one in _with_bad(n, each, every)]
    run.say(f"{len(mixed) - len(sound)} bad messages go among {len(sound)} sound readings")
    await run.publish(mixed)


def _with_bad(n: int, each: Sent, every: int) -> Iterator[Sent]:
    yield each
    if n % every == 0 and isinstance(each.becomes, Row):
        yield from bad_of_each_kind(n, each.becomes)


async def poisoned_batch(run: Run) -> None:
    """Put readings that the database itself refuses into full batches."""
    run.exactly_once = True
    sound = run.readings(run.messages)
    every = max(1, len(sound) // 10)
    mixed = [
        one
        for n, each in enumerate(sound)
        for one in ([each, poisoned(n, each.becomes)] if n % every == every // 2
                    and isinstance(each.becomes, Row) else [each])
    ]  # fmt: skip
    run.say("ingest is frozen until all is in Kafka, so that the poison is in full batches")
    for name in ("ingest-0", "ingest-1"):
        await run.stage.pause(name)
    await run.publish(mixed)
    for name in ("ingest-0", "ingest-1"):
        await run.stage.resume(name)


async def flooding_device(run: Run) -> None:
    """Let one device send garbage, and hold its neighbours' delay against what it was before."""
    run.exactly_once = True
    probes, seconds = (6, 4) if run.quick else (20, 15)
    calm = [await _delay(run) for _ in range(probes)]
    garbage = [torn(run.stage.numbers_taken * 1_000_000 + n, FLOOD)
               for n in range(FLOOD_PER_S * seconds)]  # fmt: skip
    run.say(f"one device sends {len(garbage)} messages of garbage, {FLOOD_PER_S} a second")
    async with run.load(garbage, rate=FLOOD_PER_S) as load:
        await load.reaches(0.1)
        flooded = [await _delay(run) for _ in range(probes)]
    before, during = statistics.median(calm), statistics.median(flooded)
    run.found(
        P4, during < before + SLACK_S,
        f"a neighbour's reading is a row after {during:.2f} s, {before:.2f} s without the flood",
    )  # fmt: skip


async def _delay(run: Run) -> float:
    """Publish one reading and return the seconds until it is a row."""
    reading = run.readings(1)
    began = time.monotonic()
    await run.publish(reading)
    row = reading[0].becomes

    async def is_there() -> bool:
        return isinstance(row, Row) and await questions.has(run.stage, row)

    await run.stage.until(is_there, "a neighbour's reading is a row")
    return time.monotonic() - began


SCENARIOS = (
    Scenario("sent-twice", "every message sent twice", (P2, P3), sent_twice, quick=True),
    Scenario(
        "bad-rows", "bad messages of every kind among sound ones", (P3, P4), bad_rows, quick=True
    ),
    Scenario(
        "poisoned-batch", "readings that the database refuses, in full batches", (P3, P4),
        poisoned_batch, quick=True,
    ),
    Scenario(
        "flooding-device", "one device floods with garbage", (P3, P4), flooding_device, quick=True
    ),
)  # fmt: skip
