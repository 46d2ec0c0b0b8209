"""The benchmark really runs, and holds rows and ledger against what it sent before it reports."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services.operations.benchmarking.scenarios import SCENARIOS, scenario

PROJECT = Path(__file__).resolve().parents[2]
CITYTALLY = str(Path(sys.executable).with_name("citytally"))
MESSAGES, DEVICES = 2_000, 100
QUICK = [pytest.param(name, marks=[] if name == "single" else [pytest.mark.long])
         for name in SCENARIOS]  # fmt: skip
"""Each takes a city of its own; one is enough to see that the command works."""


def bench(state: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CITYTALLY, "bench", "--messages", str(MESSAGES), "--devices", str(DEVICES), *options],
        check=False, capture_output=True, text=True, cwd=PROJECT, timeout=280,
        env=os.environ | {"CITYTALLY_STATE_DIRECTORY": str(state)},
    )  # fmt: skip


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.load
@pytest.mark.long
@pytest.mark.parametrize("name", QUICK)
def test_a_small_benchmark_writes_its_result(tmp_path: Path, name: str) -> None:
    found = result(bench(tmp_path, "--runs", "1", "--scenario", name, "--no-latency", "--json"))

    assert found == json.loads((tmp_path / "bench" / "latest.json").read_text())
    assert (tmp_path / "bench" / "latest.png").read_bytes().startswith(b"\x89PNG")
    assert set(found) == {"conditions", "scenarios"}
    assert found["conditions"]["durability"]["fsync"] == "on"
    (entry,) = found["scenarios"]
    assert (entry["name"], entry["devices"]) == (name, DEVICES)
    assert entry["median_per_s"] == entry["runs"][0]["per_s"] > 0
    assert {"gateway-0", "ingest-0", "kafka"} <= set(entry["runs"][0]["costs"])
    # A run whose rows, counted in the database, or whose ledger are not right has no figure.
    said, timeline = scenario(name, MESSAGES, DEVICES), entry["runs"][0]["timeline"]
    assert entry["runs"][0]["rows"] == said.rows
    assert timeline["sent"][-1] == timeline["stored"][-1] == said.messages


@pytest.mark.load
@pytest.mark.long
def test_the_delay_of_every_message_is_measured_at_half_of_the_rate(tmp_path: Path) -> None:
    (entry,) = result(bench(tmp_path, "--runs", "1", "-s", "single", "--json"))["scenarios"]

    delay = entry["latency"]
    assert delay["per_s"] == pytest.approx(entry["median_per_s"] / 2)
    assert delay["messages"] == int(delay["per_s"] * 15)
    assert 0 < delay["p50_s"] <= delay["p95_s"] <= delay["p99_s"] <= delay["highest_s"]


@pytest.mark.load
@pytest.mark.long
def test_growth_is_measured_at_each_size_and_the_ledger_holds(tmp_path: Path) -> None:
    found = result(bench(tmp_path, "--growth", "--rows", "20000", "--rows", "60000", "--json"))

    assert [size["rows"] for size in found["sizes"]] == [20_000, 60_000]
    assert all(taken > 0 for size in found["sizes"] for taken in size["queries_ms"].values())
    assert found["memory"]["devices"] == 100_000
    assert {"gateway-0", "ingest-0"} <= set(found["memory"]["peak_bytes"])


def test_a_scenario_that_is_none_is_refused(tmp_path: Path) -> None:
    done = bench(tmp_path, "--scenario", "no-such")
    assert done.returncode == 2
    assert not (tmp_path / "bench").exists()
