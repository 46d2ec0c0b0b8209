"""The benchmark really runs, and holds rows and ledger against what it sent before it reports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.operations.benchmarking.scenarios import SCENARIOS, scenario

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_stream_comes_to_the_rows_and_readings_that_are_said(name: str) -> None:
    each = scenario(name, 4_000, 7)
    identities, readings = set(), 0
    for topic, payload in each.stream(1_700_000_000_000):
        content = json.loads(payload)
        for item in content if isinstance(content, list) else [content]:
            readings += 1
            identities.add((topic, item["time"]))

    assert (readings, len(identities)) == (each.readings, each.rows)


@pytest.mark.long
@pytest.mark.load
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_small_benchmark_writes_its_result(tmp_path: Path, name: str) -> None:
    command = [str(Path(sys.executable).with_name("citytally")), "bench", "--messages", "2000"]
    options = ["--runs", "1", "--devices", "100", "--scenario", name, "--json"]
    done = subprocess.run(
        [*command, *options], check=False, capture_output=True, text=True, cwd=PROJECT,
        env=os.environ | {"CITYTALLY_STATE_DIRECTORY": str(tmp_path)}, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    result = json.loads((tmp_path / "bench" / "latest.json").read_text())
    assert result == json.loads(done.stdout)
    assert result["conditions"]["durability"]["fsync"] == "on"
    (entry,) = result["scenarios"]
    assert (entry["name"], entry["devices"]) == (name, 100)
    assert entry["median_per_s"] == entry["runs"][0]["per_s"] > 0
    assert {"gateway-0", "ingest-0", "kafka"} <= set(entry["runs"][0]["costs"])
