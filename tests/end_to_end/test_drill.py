"""The drill passes on the product, and fails on builds that break a promise on purpose."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.operations.drilling.catalogue import SCENARIOS
from services.operations.drilling.result import Promise
from services.operations.stack.processes import is_gone
from tests.support import broken_builds

CITYTALLY = str(Path(sys.executable).with_name("citytally"))
LEFTOVERS = "citytally-scratch-*"

BROKEN = (
    pytest.param(
        "services.gateway", broken_builds.acknowledge_before_kafka, "gateway-killed", "P1",
        id="acknowledging before Kafka's answer",
    ),
    pytest.param(
        "services.ingest", broken_builds.commit_offsets_first, "ingest-killed", "P1",
        id="committing offsets before the transaction",
    ),
    pytest.param(
        "services.ingest", broken_builds.count_one_too_many, "sent-twice", "P3",
        id="a ledger counter off by one",
    ),
)  # fmt: skip


def drill(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the drill as a person does."""
    return subprocess.run(
        [CITYTALLY, "drill", *arguments], env={**os.environ, **variables}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip


def drilled(*arguments: str, exit_code: int, environment: Mapping[str, str] | None = None) -> Any:
    """Return what the drill says with ``--json``; it must exit so."""
    done = drill("--json", *arguments, **(environment or {}))
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_quick() -> None:
    """P1 to P6: the most telling faults, in small."""
    told = drilled("--quick", exit_code=0)
    assert told["holds"]
    for played in told["scenarios"]:
        proved = {finding["promise"] for finding in played["findings"]}
        assert set(played["promises"]) <= proved, played
    assert [each["name"] for each in told["scenarios"]] == [
        name for name, scenario in SCENARIOS.items() if scenario.quick
    ]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_whole() -> None:
    """P1 to P6: every fault that the drill knows."""
    told = drilled(exit_code=0)
    assert [each["name"] for each in told["scenarios"]] == list(SCENARIOS)


@pytest.mark.long
@pytest.mark.parametrize(("service", "change", "scenario", "promise"), BROKEN)
def test_a_broken_build_fails(
    tmp_path: Path, service: str, change: Callable[[], None], scenario: str, promise: str
) -> None:
    """The drill finds what it is there to find, and names the promise."""
    environment = broken_builds.environment_of(tmp_path, service, change)

    told = drilled("--quick", "--scenario", scenario, exit_code=1, environment=environment)

    (played,) = told["scenarios"]
    broken = {finding["promise"] for finding in played["findings"] if not finding["holds"]}
    assert promise in broken, played["findings"]


@pytest.mark.long
def test_after_a_failure_the_next_scenario_has_a_new_city(tmp_path: Path) -> None:
    environment = broken_builds.environment_of(
        tmp_path, "services.ingest", broken_builds.count_one_too_many
    )

    told = drilled("-s", "sent-twice", "-s", "device-clocks", exit_code=1, environment=environment)

    assert [played["holds"] for played in told["scenarios"]] == [False, False]
    assert told["scenarios"][1]["ledger_before"]["messages"]["received"] == 0


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="Ctrl-C", marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.long),
    ],
)
def test_it_can_be_stopped(tmp_path: Path, number: signal.Signals) -> None:
    """Stopped in the middle it ends all that it started, says how far it came, and exits 1."""
    # As the drill itself does: not the fixture's folder, which the servers' users may not enter.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        output = tmp_path / "output"
        with output.open("wb") as file:
            running = subprocess.Popen(
                [CITYTALLY, "drill", "--scenario", "gateway-killed"],
                env={**os.environ, "TMPDIR": folder}, stdout=file, stderr=file,
            )  # fmt: skip
        started = until_frozen(running, output)

        running.send_signal(number)

        assert running.wait(30) == 1, output.read_text()
        assert not [each for each in started if not is_gone(each)]
        assert not list(Path(folder).glob(LEFTOVERS))
    assert "0 of 1 scenarios played" in output.read_text()


def until_frozen(running: subprocess.Popen[bytes], output: Path) -> list[psutil.Process]:
    """Wait until the scenario has frozen Kafka; return all processes of the drill."""
    while "Kafka is frozen" not in output.read_text():
        assert running.poll() is None, output.read_text()
        try:
            running.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    return psutil.Process(running.pid).children(recursive=True)


def test_a_scenario_that_there_is_not_is_wrong_usage() -> None:
    done = drill("--scenario", "nothing")
    assert done.returncode == 2
    assert "nothing: no such scenario" in done.stderr


def test_every_promise_that_a_drill_can_prove_is_proved_by_a_quick_scenario() -> None:
    proved = {promise for each in SCENARIOS.values() if each.quick for promise in each.promises}
    assert proved == set(Promise)


def test_the_list_names_every_scenario() -> None:
    done = drill("--list")
    assert done.returncode == 0
    assert all(name in done.stdout for name in SCENARIOS)
