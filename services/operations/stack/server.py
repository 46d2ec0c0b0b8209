"""A server process at our hand: started, stopped, killed or paused at will."""

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from services.operations.stack import ownership
from services.operations.stack.processes import POLL_SECONDS, bound_to_parent, wait_gone
from services.operations.stack.program import Program, ServerDescription

READY_SECONDS = 60.0
LOG_TAIL_LINES = 40

# The kernel kills a server when the *thread* that started it ends (PR_SET_PDEATHSIG), so all are
# started from this one, which lives as long as the interpreter.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="server-starter")


class ServerError(RuntimeError):
    """A server did not do what it was asked to; the message ends with the tail of its log."""


class Server:
    """One server process: started, stopped, killed or paused at will, and started again."""

    def __init__(self, description: ServerDescription) -> None:
        self.description = description
        self.program: Program = description.program()
        self.log = self.program.directory.with_name(self.program.directory.name + ".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the process runs, paused or not."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = READY_SECONDS) -> None:
        """Start the process and wait until it answers."""
        self.launch()
        self.wait_ready(timeout_s)

    def launch(self) -> None:
        """Start the process and return at once."""
        if self.is_running:
            raise ServerError(f"{self.program.name} runs already")
        self._process = _starter.submit(_spawn, self.program, self.log).result()

    def wait_ready(self, timeout_s: float = READY_SECONDS) -> None:
        """Wait until it answers. Raises ServerError if it ends instead, or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not self.description.is_ready():
            if not self.is_running:
                raise self._error("ended instead of becoming ready")
            if time.monotonic() > deadline:
                raise self._error(f"was not ready within {timeout_s} s")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ask it to end and wait until it and its children are gone; fine when it is already."""
        if not self.is_running:
            return
        tree = self._tree()
        self._running().send_signal(self.program.stop_signal)
        _, alive = psutil.wait_procs(tree, timeout=self.program.stop_seconds)
        if alive:
            self.kill()
            raise self._error(f"did not stop within {self.program.stop_seconds} s")
        self._reap()

    def kill(self) -> None:
        """SIGKILL for the process and all its children; returns when all are gone."""
        if not self.is_running:
            return
        # Stopped first, so that it makes no child between the list and the kill.
        self._running().send_signal(signal.SIGSTOP)
        tree = self._tree()
        for process in tree:
            _signal(process, signal.SIGKILL)
        self._reap()
        wait_gone(tree, timeout_s=10)

    def restart(self) -> None:
        """Stop (if it still runs) and start again, on the same folder and ports."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._running().send_signal(signal.SIGSTOP)
        for process in self._tree():
            _signal(process, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, the end of a pause."""
        for process in reversed(self._tree()):
            _signal(process, signal.SIGCONT)

    def send_signal(self, number: signal.Signals) -> None:
        """Send the process itself a signal."""
        self._running().send_signal(number)

    def end(self) -> None:
        """Whatever its state, paused too: gone, at once. For the end of a test."""
        self.kill()

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Return the last lines of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise self._error("does not run")
        return self._process

    def _tree(self) -> list[psutil.Process]:
        root = psutil.Process(self._running().pid)
        return [root, *root.children(recursive=True)]

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()

    def _error(self, what: str) -> ServerError:
        return ServerError(f"{self.program.name} {what}; its log ends:\n{self.log_tail()}")


def _spawn(program: Program, log: Path) -> subprocess.Popen[bytes]:
    bound = bound_to_parent(program.command, signal.SIGKILL)
    with log.open("ab") as output:
        return subprocess.Popen(
            ownership.as_user(bound, program.user),
            cwd=program.directory,
            env={**os.environ, **program.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return  # a child that ended meanwhile needs no signal
