"""Everything on one machine by one command, as its user sees it: it comes up, proves itself, ends.

P3 (every message is accounted for) from outside: the exit code is 0 only if the ledger balances.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from services.operations.stack import ports
from services.operations.stack.processes import wait_gone
from tests.support.servers import server_folder

CITYTALLY = Path(sys.executable).with_name("citytally")
PATIENCE_SECONDS = 240


@dataclass(frozen=True)
class Machine:
    """A state directory and ports of a test's own."""

    folder: Path
    ports: dict[str, int]

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def environment(self) -> dict[str, str]:
        """What tells a command which stack is meant; the ports it finds by itself once it runs."""
        return {
            **os.environ,
            "CITYTALLY_STATE_DIRECTORY": str(self.state),
            # Java's own variable: a Kafka that lives for seconds need not be compiled well.
            "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
        }

    @property
    def environment_with_ports(self) -> dict[str, str]:
        return self.environment | {
            "CITYTALLY_MQTT_PORT": str(self.ports["mosquitto"]),
            "CITYTALLY_KAFKA_BOOTSTRAP": f"127.0.0.1:{self.ports['kafka']}",
            "CITYTALLY_DATABASE_PORT": str(self.ports["postgresql"]),
            "CITYTALLY_GATEWAY_HEALTH_PORT": str(self.ports["gateway"]),
            "CITYTALLY_INGEST_HEALTH_PORT": str(self.ports["ingest"]),
        }

    def run(self, *arguments: str, with_ports: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [CITYTALLY, *arguments], check=False, capture_output=True, text=True,
            timeout=PATIENCE_SECONDS, cwd=self.folder,
            env=self.environment_with_ports if with_ports else self.environment,
        )  # fmt: skip

    def up(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = self.run("up", *arguments, with_ports=True)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    def ledger(self) -> dict[str, dict[str, int]]:
        done = self.run("ledger", "--json", "--check")
        assert done.returncode == 0, done.stderr
        figures: dict[str, dict[str, int]] = json.loads(done.stdout)
        return figures

    def left_running(self) -> list[psutil.Process]:
        """Processes that know this state directory."""
        return [
            process
            for process in psutil.process_iter(["cmdline", "environ"])
            if str(self.state) in " ".join(process.info["cmdline"] or ())
            or (process.info["environ"] or {}).get("CITYTALLY_STATE_DIRECTORY") == str(self.state)
        ]


def two_free_ports() -> int:
    """The first of two neighbours, out of the range that the kernel hands out by itself."""
    while True:
        port = random.randrange(20_000, 30_000, 2)  # noqa: S311 # no secret
        if ports.is_free(port) and ports.is_free(port + 1):
            return port


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    names = ("mosquitto", "kafka", "postgresql", "gateway", "ingest")
    with server_folder() as folder:
        made = Machine(folder, {name: two_free_ports() for name in names})
        yield made
        made.run("down")


def test_up_for_some_seconds_proves_that_the_ledger_balances(machine: Machine) -> None:
    done = machine.up("--watch", "--simulate", "30", "--for", "5")

    assert "balanced" in done.stdout
    assert "simulated 30" in done.stdout
    assert "stopped" in done.stdout
    assert machine.left_running() == []
    secrets = list((machine.state / "secrets").iterdir())
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


@pytest.fixture
def running(machine: Machine) -> Machine:
    """The same machine, up (again, where the last test left it down)."""
    if not machine.left_running():
        machine.up("--simulate", "30")
    return machine


def test_up_again_goes_on_where_it_was(running: Machine) -> None:
    looked, ledger = running.run("status", "--json"), running.ledger()

    assert looked.returncode == 0, looked.stdout
    assert [part["ready"] for part in seen(looked).values()] == [True] * 7
    assert ledger["readings"]["written"] > 30
    assert ledger["messages"]["lost"] == 0


def seen(status: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """What status says of each server and service."""
    told = json.loads(status.stdout)
    return {part["name"]: part for part in told["servers"] + told["services"]}


def pids(running: Machine) -> dict[str, int]:
    return {name: part["pid"] for name, part in seen(running.run("status", "--json")).items()}


@pytest.mark.long
def test_up_while_it_runs_leaves_everything_alone(running: Machine) -> None:
    before = pids(running)
    running.up("--simulate", "30")
    assert pids(running) == before


def test_a_port_of_somebody_else_is_left_to_them(running: Machine) -> None:
    other = Machine(running.folder / "other", running.ports)
    other.folder.mkdir()

    done = other.run("up", with_ports=True)

    assert done.returncode == 3
    assert f"port {running.ports['postgresql']}" in done.stderr
    assert "CITYTALLY_DATABASE_PORT" in done.stderr
    assert not other.state.exists()


def test_down_stops_everything(running: Machine) -> None:
    processes = running.left_running()

    done = running.run("down")

    assert done.returncode == 0
    assert "gateway-0" in done.stdout
    wait_gone(processes, timeout_s=0)
    assert running.left_running() == []
    assert running.run("status").returncode == 3


async def delete_one_row(connection: asyncpg.Connection) -> None:
    """Delete a row, as soon as the city that has just come up has one."""
    async with asyncio.timeout(60):
        while (
            await connection.execute(
                "delete from environmental_readings where (device_id, part, time) in "
                "(select device_id, part, time from environmental_readings order by time limit 1)"
            )
            != "DELETE 1"
        ):
            await asyncio.sleep(0.1)


@pytest.mark.long
async def test_up_for_some_seconds_exits_1_when_a_row_is_missing(running: Machine) -> None:
    connection = await asyncpg.connect(
        host="127.0.0.1", port=running.ports["postgresql"], user="postgres", database="citytally",
        password=(running.state / "secrets" / "postgres").read_text().strip(),
    )  # fmt: skip
    await delete_one_row(connection)
    await connection.close()

    done = running.run("up", "--watch", "--simulate", "30", "--for", "1")

    assert done.returncode == 1, done.stderr
    assert "recount_rows" in done.stdout
    assert "not balanced" in done.stdout
    assert running.left_running() == []
