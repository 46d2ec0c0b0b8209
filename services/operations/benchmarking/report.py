"""The result of a benchmark: medians, spread, and the file that later runs are compared with."""

import json
import statistics
from pathlib import Path
from typing import Any

from services.operations.benchmarking.running import Run
from services.operations.benchmarking.scenarios import Scenario

FILE = Path("bench") / "latest.json"


def summary(scenario: Scenario, runs: list[Run]) -> dict[str, Any]:
    """Return a scenario's entry of ``latest.json``."""
    rates = [run.per_s for run in runs]
    return {
        "name": scenario.name,
        "title": scenario.title,
        "devices": scenario.devices,
        "messages": scenario.messages,
        "median_per_s": statistics.median(rates),
        "lowest_per_s": min(rates),
        "highest_per_s": max(rates),
        "median_readings_per_s": statistics.median(run.readings_per_s for run in runs),
        "cpu_us_per_message": statistics.median(
            sum(cost.cpu_s for cost in run.costs.values()) / run.messages * 1e6 for run in runs
        ),
        "runs": [run.as_json() for run in runs],
    }


def write(state_directory: Path, result: dict[str, Any]) -> Path:
    """Write ``.citytally/bench/latest.json`` and return where it is."""
    path = state_directory / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path
