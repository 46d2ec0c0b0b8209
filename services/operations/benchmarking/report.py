"""The result of a benchmark: medians, spread, and the file that later runs are compared with."""

import json
import statistics
from pathlib import Path
from typing import Any

from services.operations.benchmarking.running import Run
from services.operations.benchmarking.scenarios import Scenario

FILE = Path("bench") / "latest.json"
GROWTH_FILE = Path("bench") / "growth.json"
SOAK_FILE = Path("bench") / "soak.json"
PROFILE_FILE = Path("bench") / "profile.json"


def summary(scenario: Scenario, runs: list[Run], speeds: list[float]) -> dict[str, Any]:
    """Return a scenario's entry of ``latest.json``, still without its ``latency``.

    ``speeds`` is what the machine hashed before each run, megabytes a second.
    """
    rates = [run.per_s for run in runs]
    return {
        "name": scenario.name,
        "title": scenario.title,
        "devices": scenario.devices,
        "messages": scenario.messages,
        "median_per_s": statistics.median(rates),
        "lowest_per_s": min(rates),
        "highest_per_s": max(rates),
        "median_steady_per_s": statistics.median(run.steady_per_s for run in runs),
        "median_readings_per_s": statistics.median(run.readings_per_s for run in runs),
        "cpu_us_per_message": statistics.median(run.cpu_us_per_message() for run in runs),
        "cpu_us_per_message_without_client": statistics.median(
            run.cpu_us_per_message(client=False) for run in runs
        ),
        "noise": statistics.median(run.noise.others + run.noise.stolen for run in runs),
        "machine_mb_per_s": statistics.median(speeds),
        "latency": None,
        "runs": [run.as_json() for run in runs],
    }


def middle_run(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the run of an entry whose rate is the median (the higher of two)."""
    runs: list[dict[str, Any]] = sorted(entry["runs"], key=lambda run: float(run["per_s"]))
    return runs[len(runs) // 2]


def write(state_directory: Path, result: dict[str, Any], file: Path = FILE) -> Path:
    """Write ``.citytally/bench/latest.json``, or another file there; return where it is."""
    path = state_directory / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def read(state_directory: Path, file: Path = FILE) -> dict[str, Any] | None:
    """Return what was written there last, None where nothing was."""
    path = state_directory / file
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
