"""Play scenarios one after the other on a scratch city, and judge each.

A city whose promises all held goes on to the next scenario, with everything that it holds; after a
scenario that failed the next one begins on a new city.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from services.common.settings import Settings
from services.operations.accounting import Account
from services.operations.drilling.judging import judge
from services.operations.drilling.result import DrillError, Result, SkippedError
from services.operations.drilling.run import Run
from services.operations.drilling.scenario import Scenario
from services.operations.drilling.stage import SERVERS, SERVICES, UNREACHABLE, Stage
from services.operations.local.scratch import Scratch, scratch_city
from services.operations.stack.processes import CommandError, StillRunningError
from services.operations.stack.server import ServerError

SCENARIO_S = 300.0
"""How long a scenario may take before it is ended and counts as failed."""
STATEMENT_TIMEOUT_S = 5.0
"""Short, so that a lock on the hypertable is felt within seconds."""
BROKEN = (DrillError, ServerError, StillRunningError, CommandError, *UNREACHABLE)
"""What keeps a scenario from its end; it failed then."""


@dataclass
class Drill:
    """Which scenarios are played, with how many messages each, and who is told.

    The same ``seed`` puts the faults at the same moments.
    """

    chosen: Sequence[Scenario]
    messages: int
    quick: bool
    seed: int
    tell: Callable[[str], None]
    results: list[Result] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every scenario was played and every promise held."""
        return len(self.results) == len(self.chosen) and all(one.holds for one in self.results)

    def play(self, settings: Settings) -> Generator[Result, None, None]:
        """Play all scenarios and yield what each came to."""
        waiting = deque(self.chosen)
        while waiting:
            with scratch_city(_impatient(settings)) as city:
                yield from self._play_until_broken(_prepared(city), waiting)

    def _play_until_broken(
        self, stage: Stage, waiting: deque[Scenario]
    ) -> Generator[Result, None, None]:
        """Play what waits, up to the first scenario that breaks a promise."""
        holds = True
        while waiting and holds:
            result = self._play_next(stage, waiting.popleft())
            holds = result.holds
            yield result

    def _play_next(self, stage: Stage, scenario: Scenario) -> Result:
        result = Result(scenario.name, scenario.title, scenario.promises)
        chance = Random(f"{self.seed} {scenario.name}")  # noqa: S311 # moments, no secrets
        run = Run(stage, result, self.messages, self.quick, self.tell, chance)
        self.tell(f"{scenario.name}: {scenario.title}")
        began = time.monotonic()
        asyncio.run(_play(run, scenario))
        result.seconds = time.monotonic() - began
        self.results.append(result)
        return result


def _prepared(city: Scratch) -> Stage:
    """Return a city whose services run, with every device registered."""
    stage = Stage(city)
    for name in SERVICES:
        city.launch_service(name)
    asyncio.run(_prepare(stage))
    return stage


async def _prepare(stage: Stage) -> None:
    await stage.register()
    await stage.ready(*SERVICES)


async def _play(run: Run, scenario: Scenario) -> None:
    """Play and judge; whatever keeps it from its end is a finding too."""
    try:
        async with asyncio.timeout(SCENARIO_S):
            await _play_and_judge(run, scenario)
    except SkippedError as reason:
        run.result.skipped = str(reason)
    except BROKEN as error:
        run.found(run.result.promises[0], False, f"{error}" or repr(error))


async def _play_and_judge(run: Run, scenario: Scenario) -> None:
    before = await run.stage.account()
    run.result.before = figures(before)
    run.say(f"ledger before: {line(before)}")
    await scenario.play(run)
    _judge_processes(run)
    after = await judge(run, before)
    run.result.after = figures(after)
    run.say(f"ledger after: {line(after)}")


def _judge_processes(run: Run) -> None:
    """Say which process ended by itself: whoever kills one starts it again."""
    for name in [*SERVERS, *SERVICES]:
        if not run.stage.server(name).is_running:
            says = f"{name} ended by itself; its log ends: {run.stage.server(name).log_tail(5)}"
            run.found(run.result.promises[0], False, says)


def figures(stated: Account) -> dict[str, Any]:
    """Return a ledger's figures, without the equations' parts."""
    whole = stated.as_json()
    return {name: whole[name] for name in
            ("balanced", "messages", "readings", "quarantine", "recount", "in_flight")}  # fmt: skip


def line(stated: Account) -> str:
    """Return a ledger in one line."""
    balance = stated.balance
    messages, readings = balance.messages, balance.readings
    return (
        f"{messages['received']} received = {messages['decoded']} decoded + "
        f"{messages['undecodable']} undecodable + {messages['lost']} lost · readings "
        f"{readings['decoded']} = {readings['written']} written + {readings['duplicate']} "
        f"duplicate + {readings['quarantined']} quarantined · {balance.recount['rows']} rows · "
        f"{len(balance.gaps)} gaps · {'balanced' if balance.balanced else 'NOT balanced'}"
    )


def _impatient(settings: Settings) -> Settings:
    changes = {"statement_timeout_s": STATEMENT_TIMEOUT_S, "sweep_s": 5.0}
    return settings.model_copy(update=changes)
