"""All scenarios of the drill, in the order in which they are played."""

from services.operations.drilling import (
    backups,
    bad_messages,
    clocks,
    full_disk,
    kills,
    logs,
    outages,
    rebalances,
)
from services.operations.drilling.scenario import Scenario

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for family in (
        kills, outages, backups, logs, bad_messages, clocks, rebalances, full_disk,
    )
    for scenario in family.SCENARIOS
}  # fmt: skip
