"""Running commands, processes that end with the one that started them, and waiting for the end."""

import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

POLL_SECONDS = 0.02


class StillRunningError(RuntimeError):
    """A process that should have ended has not; the message says which."""


class CommandError(RuntimeError):
    """A command that prepares a server failed; the message is what it printed."""


def run(command: Sequence[str], directory: Path) -> None:
    """Run a command to its end, silently.

    Raises:
        CommandError: it failed.
    """
    result = subprocess.run(
        command,
        cwd=directory,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if result.returncode != 0:
        name = Path(command[0]).name
        raise CommandError(f"{name} failed ({result.returncode}): {result.stdout.strip()}")


def bound_to_parent(command: tuple[str, ...], death: signal.Signals) -> tuple[str, ...]:
    """The same command, which gets that signal when the thread that started it ends.

    setpriv becomes the command, with the same process id. The kernel forgets the wish when the user
    changes, so a change of user goes before.
    """
    return ("setpriv", "--pdeathsig", death.name.removeprefix("SIG"), "--", *command)


def wait_gone(processes: Iterable[psutil.Process], timeout_s: float) -> None:
    """Wait until none of them runs.

    Raises:
        StillRunningError: one still runs when the time is over.
    """
    deadline = time.monotonic() + timeout_s
    for process in processes:
        while not is_gone(process):
            if time.monotonic() > deadline:
                raise StillRunningError(f"{process} still runs after {timeout_s} s")
            time.sleep(POLL_SECONDS)


def is_gone(process: psutil.Process) -> bool:
    """True when it runs no more, be it that its parent has yet to collect its exit status."""
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
