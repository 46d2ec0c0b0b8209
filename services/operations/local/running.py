"""Start and stop everything on one machine. Starting again changes nothing that runs as it should.

``up`` promises this order:

1. programs are installed, and each port is free or its program ours: nobody else's is touched;
2. secrets, folders, and the file by which other commands find the stack;
3. the servers run and answer;
4. database, schema, passwords, topics;
5. ingest and gateway run and are ready; then the simulator.

``down`` ends what was started last first: the simulator, the gateway (which drains), ingest (which
finishes its batch), and then the servers.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from services.common.settings import Settings
from services.operations.local import addresses, preparing
from services.operations.local.installed import require_installed
from services.operations.local.layout import SIMULATOR, Layout, layout
from services.operations.local.ports_taken import require_ports
from services.operations.local.readiness import reason_not_ready
from services.operations.stack.program import Program
from services.operations.stack.supervision import Supervision

READY_SECONDS = 90.0
BACKOFF_SECONDS = 15.0
"""How long a program may die and be started again before we say that it does not run."""
LOG_LINES = 12

_POLL_SECONDS = 0.1
_DYING = frozenset({"BACKOFF", "FATAL", "EXITED"})

Step = Callable[[str], AbstractContextManager[None]]
"""Shows a step, from entering to leaving; its name is a few words."""


class StartError(Exception):
    """A program does not come up; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Running:
    """A stack that is up: what it is made of, and its supervisor."""

    layout: Layout
    supervision: Supervision

    def stop_simulator(self) -> None:
        """End the simulated city, and wait until it has."""
        layout = self.layout
        self.supervision.start([*layout.server_programs(), *layout.service_programs()])


def up(settings: Settings, *, simulate: int, step: Step) -> Running:
    """Start what does not run yet, in order, and return once all of it is ready.

    Raises:
        ElsewhereError, NotInstalledError, PortTakenError: before anything is touched.
        StartError, SupervisionError: what did start keeps running, for a second try.
    """
    require_installed()
    here = layout(settings)
    supervision = Supervision(here.state_directory)
    if supervision.is_running() and addresses.differ(here.settings):
        raise StartError(
            f"the stack in {here.state_directory} runs with other settings: `citytally down`, "
            "then start it again"
        )
    require_ports(here.listeners(), supervision.states())
    running = Running(here, supervision)
    with step("secrets and configuration"):
        _prepare(here)
    services = here.service_programs()
    city = [here.simulator_program(simulate)] if simulate else []
    _start_servers(running, [*services, *city], step)
    with step("database schema and Kafka topics"):
        asyncio.run(preparing.prepare_database(here.settings))
        asyncio.run(preparing.create_topics(here.settings))
    supervision.start([*here.server_programs(), *services, *city])
    for program in [*services, *city]:
        with step(program.name):
            _wait_until_ready(running, program.name)
    return running


def down(settings: Settings) -> list[str]:
    """End everything that was started here, and wait; return the names of what ran."""
    here = layout(settings)
    supervision = Supervision(here.state_directory)
    ran = [state.name for state in supervision.states() if state.pid is not None]
    supervision.stop()
    addresses.withdraw(here.settings)
    return ran


def _prepare(here: Layout) -> None:
    here.state_directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    preparing.make_secrets(here.settings)
    preparing.prepare_servers(here)
    addresses.publish(here.settings)


def _start_servers(running: Running, later: Sequence[Program], step: Step) -> None:
    """Start the servers alone, unless services run already: those must not be ended for it."""
    servers = running.layout.server_programs()
    others = list(later) if running.supervision.is_running() else []
    running.supervision.start([*servers, *others])
    for server in servers:
        with step(server.name):
            _wait_until_ready(running, server.name)


def _wait_until_ready(running: Running, name: str) -> None:
    """Wait until a program does its work.

    Raises:
        StartError: it ends again and again, or is not ready in time.
    """
    began = time.monotonic()
    while (reason := _waits_for(running, name)) is not None:
        waited = time.monotonic() - began
        dies = waited > BACKOFF_SECONDS and _state(running, name) in _DYING
        if dies or waited > READY_SECONDS:
            what = f"{name} is not ready after {waited:.0f} s: {reason}"
            raise StartError(f"{what} (`citytally down` ends what runs){_log(running, name)}")
        time.sleep(_POLL_SECONDS)


def _waits_for(running: Running, name: str) -> str | None:
    if name == SIMULATOR:
        state = _state(running, name)
        return None if state == "RUNNING" else state
    return reason_not_ready(running.layout, name)


def _state(running: Running, name: str) -> str:
    found = [state.state for state in running.supervision.states() if state.name == name]
    return found[0] if found else "not started"


def _log(running: Running, name: str) -> str:
    path = running.supervision.log(name)
    if not path.exists():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join([f"; its log ({path}) ends:", *lines])
