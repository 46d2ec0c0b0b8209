"""Keeping programs running: one supervisord in the background restarts what dies."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from xmlrpc.client import (
    Fault,
    ServerProxy,
)

import psutil
from supervisor.xmlrpc import SupervisorTransport

from services.operations.stack import ownership
from services.operations.stack.processes import wait_gone
from services.operations.stack.program import Program
from services.operations.stack.supervisor_configuration import SupervisorFiles, configuration

ANSWER_SECONDS = 10.0
STOP_SECONDS = 180.0
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 20


class SupervisionError(RuntimeError):
    """supervisord does not do what it was asked to; the message ends with the tail of its log."""


@dataclass(frozen=True, slots=True)
class ProgramState:
    """What supervisord says of one program: `state` is RUNNING, STARTING, BACKOFF, FATAL, ..."""

    name: str
    state: str
    pid: int | None
    running_s: int
    description: str


@dataclass(frozen=True, slots=True)
class Supervision:
    """The supervisord of one state folder, whether it runs or not."""

    state_directory: Path

    @property
    def files(self) -> SupervisorFiles:
        """Where its configuration, socket and logs are."""
        return SupervisorFiles(self.state_directory)

    def start(self, programs: Sequence[Program]) -> None:
        """Let exactly these programs run.

        1. write the configuration;
        2. start supervisord, which starts them in order of priority; or
        3. where it runs already: end those that are not listed or changed, start those that are
           new or stopped, and leave the others alone.
        """
        _write(self.files, programs)
        if self.is_running():
            self._update()
        else:
            self._launch()

    def stop(self, timeout_s: float = STOP_SECONDS) -> None:
        """End all programs, the last started first, and supervisord; fine when it does not run."""
        if not self.is_running():
            return
        with self._calls() as calls:
            daemon = psutil.Process(cast("int", calls.getPID()))
            calls.shutdown()
        wait_gone([daemon], timeout_s)

    def is_running(self) -> bool:
        """True when supervisord answers."""
        try:
            with self._calls() as calls:
                calls.getPID()
        except OSError:
            return False
        return True

    def states(self) -> list[ProgramState]:
        """What each program does; nothing when supervisord does not run."""
        if not self.is_running():
            return []
        with self._calls() as calls:
            return [_state(row) for row in cast("list[dict[str, Any]]", calls.getAllProcessInfo())]

    def restart_program(self, name: str) -> None:
        """End one program and start it again."""
        with self._calls() as calls:
            calls.stopProcess(name)
            calls.startProcess(name)

    def signal_program(self, name: str, signal_name: str) -> None:
        """Send one program a signal, such as HUP."""
        with self._calls() as calls:
            calls.signalProcess(name, signal_name)

    def log(self, name: str) -> Path:
        """The log of one program."""
        return self.files.log(name)

    def _launch(self) -> None:
        command = [sys.executable, "-m", "supervisor.supervisord", "-c"]
        result = subprocess.run(
            [*command, str(self.files.configuration)], check=False, capture_output=True, text=True
        )
        if result.returncode != 0:
            raise self._error(f"did not start: {result.stderr.strip() or result.stdout.strip()}")
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self.is_running():
            if time.monotonic() > deadline:
                raise self._error(f"does not answer after {ANSWER_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def _update(self) -> None:
        with self._calls() as calls:
            try:
                [[added, changed, removed]] = cast("list[Any]", calls.reloadConfig())
            except Fault as fault:
                raise self._error(f"refuses its configuration: {fault.faultString}") from fault
            for name in (*removed, *changed):
                calls.stopProcessGroup(name)
                calls.removeProcessGroup(name)
            for name in (*added, *changed):
                calls.addProcessGroup(name)
            calls.startAllProcesses(False)

    @contextmanager
    def _calls(self) -> Iterator[Any]:
        transport = SupervisorTransport(None, None, f"unix://{self.files.socket}")
        try:
            yield ServerProxy("http://localhost", transport=transport).supervisor
        finally:
            transport.close()

    def _error(self, what: str) -> SupervisionError:
        log = self.files.logs / "supervisord.log"
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        tail = "\n".join(text.splitlines()[-LOG_TAIL_LINES:])
        return SupervisionError(f"supervisord {what}; its log ends:\n{tail}")


def _write(files: SupervisorFiles, programs: Sequence[Program]) -> None:
    files.logs.mkdir(parents=True, exist_ok=True)
    ownership.write_private(files.configuration, configuration(files, programs), user=None)


def _state(row: dict[str, Any]) -> ProgramState:
    running = row["statename"] == "RUNNING"
    return ProgramState(
        name=row["name"],
        state=row["statename"],
        pid=row["pid"] or None,
        running_s=row["now"] - row["start"] if running else 0,
        description=row["description"],
    )
