"""A city whose every part may be killed, and the proof that it accounted for everything."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.databases import PostgreSQLServer
from tests.support.load import DEVICES, Load, device_id, number
from tests.support.pipeline import Pipeline, Service
from tests.support.servers import KafkaServer, Server

RECOVERY_SECONDS = 90.0


@dataclass(frozen=True)
class MortalCity:
    """A pipeline whose servers no other test uses at the same time."""

    pipeline: Pipeline
    kafka: KafkaServer
    postgresql: PostgreSQLServer

    async def register(self) -> None:
        """Register the devices of every load."""
        await self.pipeline.register(*(device_id(n) for n in range(DEVICES)))

    async def stored(self) -> set[int]:
        """The numbers of all rows; each stands for one row, or the test fails."""
        rows = await self.pipeline.fetch(
            "select device_id, time, co2_ppm from environmental_readings"
        )
        numbers = [number((row["device_id"], row["time"], row["co2_ppm"])) for row in rows]
        assert len(numbers) == len(set(numbers)), "an identity is stored twice"
        return set(numbers)

    async def all_stored(self, *loads: Load, timeout_s: float = RECOVERY_SECONDS) -> None:
        """Wait until every acknowledged reading is a row, and Kafka holds nothing more."""
        acknowledged = set[int]().union(*(load.acknowledged for load in loads))

        async def is_there() -> bool:
            n: int = await self.pipeline.fetchval("select count(*) from environmental_readings")
            return n >= len(acknowledged)

        await until(is_there, f"{len(acknowledged)} rows", timeout_s)
        await self.pipeline.until_drained(timeout_s)

    async def accounts_for(self, *loads: Load) -> dict[str, Any]:
        """Check that all that was acknowledged is a row exactly once, and the ledger balances.

        Quarantine must hold the injected messages and nothing else (a message that came twice
        twice: its bytes count). Returns the ledger.
        """
        await self.all_stored(*loads)
        acknowledged = set[int]().union(*(load.acknowledged for load in loads))
        assert await self.stored() == acknowledged
        assert await self.quarantined() == set[bytes]().union(*(load.injected for load in loads))
        return await self.balances()

    async def quarantined(self) -> set[bytes]:
        rows = await self.pipeline.fetch(
            "select distinct payload from quarantine_items join quarantine_messages "
            "using (message_id) join quarantine_payloads using (digest)"
        )
        return {row["payload"] for row in rows}

    async def balances(self) -> dict[str, Any]:
        """The ledger, which holds without a gap."""
        balance = await self.pipeline.balance()
        assert balance["balanced"], balance
        assert balance["gaps"] == []
        return balance


async def until(
    holds: Callable[[], Coroutine[Any, Any, bool]], what: str, timeout_s: float = RECOVERY_SECONDS
) -> None:
    """Wait until a condition holds, or fail saying what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not await holds():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.1)


async def until_waiting(server: Server, word: str, timeout_s: float = RECOVERY_SECONDS) -> None:
    """Wait until a service says that it is not ready, and for what."""

    async def says_so() -> bool:
        assert server.is_running, f"{server.program.name} ended: {server.log_tail()}"
        return word in (await asyncio.to_thread(service(server).readiness) or "")

    await until(says_so, f"{server.program.name} not ready with {word!r}", timeout_s)


async def until_ready(server: Server, timeout_s: float = RECOVERY_SECONDS) -> None:
    await asyncio.to_thread(server.wait_ready, timeout_s)


async def revive(server: Server) -> None:
    """``kill -9``, and start again on the same folder and port, while the loop goes on."""
    await asyncio.to_thread(server.kill)
    await start(server)


async def start(server: Server) -> None:
    await asyncio.to_thread(server.start)


async def stop(server: Server) -> None:
    await asyncio.to_thread(server.stop)


async def exit_code(server: Server, within_s: float) -> int:
    """Send SIGTERM to a service and return its exit code; it fails when it takes longer."""
    process = server._running()
    process.terminate()
    try:
        return await asyncio.to_thread(process.wait, within_s)
    except subprocess.TimeoutExpired:
        pytest.fail(f"{server.program.name} still runs {within_s} s later: {server.log_tail()}")


def service(server: Server) -> Service:
    assert isinstance(server.description, Service)
    return server.description


@asynccontextmanager
async def locked(mortal: MortalCity, table: str) -> AsyncIterator[None]:
    """Hold a table so that nobody else can even read it."""
    connection = await mortal.pipeline.connect()
    try:
        async with connection.transaction():
            await connection.execute(f"lock table {table} in access exclusive mode")
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def connections_refused(mortal: MortalCity, role: str) -> AsyncIterator[None]:
    """Let PostgreSQL refuse a role's connections as it does when it has too many (53300)."""
    await mortal.pipeline.fetchval(f"alter role {role} connection limit 0")
    try:
        yield
    finally:
        await mortal.pipeline.fetchval(f"alter role {role} connection limit -1")
