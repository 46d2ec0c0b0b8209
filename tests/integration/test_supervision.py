"""supervisord restarts what dies, and takes everything with it when it ends."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from services.operations.stack.processes import wait_gone
from services.operations.stack.program import Program
from services.operations.stack.supervision import Supervision


@pytest.fixture
def supervision(tmp_path: Path) -> Iterator[Supervision]:
    supervised = Supervision(tmp_path)
    yield supervised
    supervised.stop()


def sleeper(name: str, seconds: int = 1000) -> Program:
    return Program(name, ("sleep", str(seconds)), Path("/"))


def pids(supervision: Supervision) -> dict[str, int | None]:
    return {state.name: state.pid for state in supervision.states()}


def start(supervision: Supervision, *programs: Program) -> dict[str, int | None]:
    """Start these and wait until they really run: between fork and exec a signal is lost."""
    supervision.start(programs)
    wait_running(supervision)
    return pids(supervision)


def wait_running(supervision: Supervision) -> None:
    wait_until(lambda: {state.state for state in supervision.states()} == {"RUNNING"})


def wait_until(holds: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_killed_comes_back(supervision: Supervision) -> None:
    killed = start(supervision, sleeper("one"))["one"]
    assert killed is not None

    os.kill(killed, signal.SIGKILL)

    wait_until(lambda: pids(supervision)["one"] not in {None, killed})
    wait_running(supervision)


def test_a_second_start_leaves_alone_what_did_not_change(supervision: Supervision) -> None:
    before = start(supervision, sleeper("one"), sleeper("two"), sleeper("three"))

    after = start(supervision, sleeper("one"), sleeper("two", seconds=2000), sleeper("four"))

    assert sorted(after) == ["four", "one", "two"]
    assert after["one"] == before["one"]
    assert after["two"] != before["two"]


def test_stop_ends_everything(supervision: Supervision) -> None:
    process = psutil.Process(start(supervision, sleeper("one"))["one"])

    supervision.stop()

    wait_gone([process], timeout_s=0)
    assert supervision.states() == []


def test_a_killed_supervisor_leaves_nothing_behind(supervision: Supervision) -> None:
    process = psutil.Process(start(supervision, sleeper("one"))["one"])

    os.kill(int(supervision.files.pid_file.read_text()), signal.SIGKILL)

    wait_gone([process], timeout_s=5)
    start(supervision, sleeper("one"))
