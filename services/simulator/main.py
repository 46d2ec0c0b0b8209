"""The simulator as a service: ``python -m services.simulator``, for the supervisor.

SIGTERM ends it cleanly: what it injected is printed as JSON and stands in the state directory, and
the next start goes on from there.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from services.common import lifecycle, logs
from services.common.mqtt import BrokerRefusedError
from services.common.publisher import Publisher
from services.common.settings import MissingSecretError, Settings
from services.operations.replaying import register
from services.operations.stack.mosquitto import OPERATOR
from services.simulator.faults import Injected
from services.simulator.simulation import Plan, Simulated, Simulation
from services.simulator.state import AlreadyRunningError, StateFile, UnreadableStateError
from services.storage.failures import UnavailableError

NOT_REACHED = (OSError, BrokerRefusedError, MissingSecretError, UnavailableError)
"""What means that a server could not be reached when the simulation began."""
NOT_STARTED = (AlreadyRunningError, UnreadableStateError)
"""What keeps a simulation from beginning, each with a sentence for a person."""

log = structlog.get_logger(__name__)


async def simulate(
    settings: Settings,
    plan: Plan,
    stop: asyncio.Event,
    on_progress: Callable[[Injected], None] = lambda _injected: None,
) -> Simulated:
    """Run a city against the servers of the settings until ``stop`` is set.

    Raises one of NOT_REACHED or NOT_STARTED.
    """
    state_file = StateFile(settings.state_directory / "simulator", plan.seed)
    publisher = Publisher(
        settings.mqtt_host,
        settings.mqtt_port,
        user=OPERATOR,
        password=settings.secret(OPERATOR),
        client_id=f"citytally-simulator-{plan.seed}-{datetime.now(UTC):%H%M%S%f}",
    )
    with state_file.locked():
        async with publisher:
            simulation = Simulation(plan, publisher, state_file, on_progress=on_progress)
            await simulation.register(register.in_database(settings))
            return await simulation.run(stop)


def main() -> int:
    """Run the service and return its exit code."""
    plan = _plan(sys.argv[1:])
    logs.configure("simulator")
    settings = Settings()

    async def run(stop: asyncio.Event) -> int:
        log.info("simulating", seed=plan.seed, devices=plan.devices)
        simulated = await simulate(settings, plan, stop)
        sys.stdout.write(json.dumps(simulated.as_json()) + "\n")
        return 0 if simulated.complete else 1

    try:
        return lifecycle.run(run)
    except NOT_REACHED as error:
        log.error("server not reached", error=str(error))  # noqa: TRY400 # a sentence says it all
        return 3
    except NOT_STARTED as error:
        log.error("not started", error=str(error))  # noqa: TRY400 # likewise
        return 2


def _plan(arguments: list[str]) -> Plan:
    default = Plan()
    parser = argparse.ArgumentParser(prog="python -m services.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--devices", type=int, default=default.devices)
    parser.add_argument("--history-days", type=float, default=default.history_days)
    parser.add_argument("--rate-factor", type=float, default=default.rate_factor)
    return Plan(**vars(parser.parse_args(arguments)))
