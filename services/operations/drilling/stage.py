"""The city that a drill plays on: processes that are killed and revived, questions to its servers.

Also the memory of what was sent, so that each check holds the whole database against the whole
drill.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import asyncpg
from aiokafka.errors import KafkaError

from schemas.registry import Device, Origin
from services.common.settings import Role, Settings
from services.operations.accounting import Account, account
from services.operations.drilling.readings import (
    Readings,
    Refusal,
    Row,
    device_ids,
    two_days_ago,
)
from services.operations.drilling.result import DrillError
from services.operations.local.scratch import Scratch, ServiceDescription
from services.operations.stack.server import Server
from services.storage import registry
from services.storage.failures import AWAY
from services.storage.pool import connect
from services.storage.queries import query

RECOVERY_S = 90.0
"""How long a city may take to be whole again after a fault."""
POLL_S = 0.1
SERVERS = ("mosquitto", "kafka", "postgresql")
SERVICES = ("gateway-0", "ingest-0", "ingest-1")
UNREACHABLE = (*AWAY, asyncpg.PostgresError, asyncpg.InterfaceError, KafkaError)
"""What a question to a server that was killed or restarted may raise: it is asked again."""

Answer = TypeVar("Answer")


@dataclass
class Stage:
    """A scratch city, and what it must hold by now."""

    city: Scratch
    readings: Readings = field(default_factory=lambda: Readings(two_days_ago()))
    numbers_taken: int = 0
    sent: set[Row] = field(default_factory=set)
    due: set[Row] = field(default_factory=set)
    refused: set[Refusal] = field(default_factory=set)

    @property
    def settings(self) -> Settings:
        """The settings by which the city's parts find each other."""
        return self.city.settings

    def take_numbers(self, n: int) -> range:
        """Return numbers of readings that were not sent yet."""
        first = self.numbers_taken
        self.numbers_taken += n
        return range(first, first + n)

    def server(self, name: str) -> Server:
        """Return a process by its name."""
        return self.city.processes[name]

    async def register(self) -> None:
        """Register the devices of every scenario."""
        async with self.connection("operate") as connection:
            devices = [Device(each, origin=Origin.SIMULATED) for each in device_ids()]
            await registry.register(connection, devices=devices)

    async def start(self, *names: str) -> None:
        """Start processes and wait until they are ready."""
        await asyncio.gather(*[asyncio.to_thread(self.server(name).start) for name in names])

    async def stop(self, *names: str) -> None:
        """Ask processes to end and wait until they are gone."""
        await asyncio.gather(*[asyncio.to_thread(self.server(name).stop) for name in names])

    async def kill(self, *names: str) -> None:
        """End processes with SIGKILL."""
        await asyncio.gather(*[asyncio.to_thread(self.server(name).kill) for name in names])

    async def pause(self, name: str) -> None:
        """Freeze a process: connections stay open and nothing answers."""
        await asyncio.to_thread(self.server(name).pause)

    async def resume(self, name: str) -> None:
        """Let a frozen process go on."""
        await asyncio.to_thread(self.server(name).resume)

    async def join(self, name: str) -> None:
        """Start one more service."""
        await asyncio.to_thread(self.city.start_service, name)

    async def leave(self, name: str) -> None:
        """End one of the services that joined."""
        await self.stop(name)
        del self.city.processes[name]

    async def ready(self, *names: str) -> None:
        """Wait until processes do their work again."""
        await asyncio.gather(
            *[asyncio.to_thread(self.server(name).wait_ready, RECOVERY_S) for name in names]
        )

    async def waiting(self, name: str, word: str) -> None:
        """Wait until a service says that it is not ready, and for what."""

        async def says_so() -> bool:
            return word in (await asyncio.to_thread(self.reason, name) or "")

        await self.until(says_so, f"{name} says that it waits for {word}")

    def reason(self, name: str) -> str | None:
        """Return why a service is not ready, None when it is."""
        description = self.server(name).description
        if not isinstance(description, ServiceDescription):
            raise DrillError(f"{name} is no service")
        return description.reason_not_ready()

    async def make_whole(self) -> None:
        """Let everything run and be ready, whatever the last scenario left behind."""
        for name in [*SERVERS, *SERVICES]:
            if self.server(name).is_running:
                await self.resume(name)
            else:
                await asyncio.to_thread(self.server(name).launch)
        await self.ready(*SERVERS, *SERVICES)

    async def until(
        self,
        holds: Callable[[], Awaitable[bool]],
        what: str,
        timeout_s: float = RECOVERY_S,
    ) -> None:
        """Wait until something holds. Raises ``DrillError``; a server that is away is asked again.

        What it said last stands in the error.
        """
        deadline, last = time.monotonic() + timeout_s, ""
        while True:
            try:
                if await holds():
                    return
            except UNREACHABLE as error:
                last = f" ({error!r})"
            if time.monotonic() > deadline:
                raise DrillError(f"not within {timeout_s:.0f} s: {what}{last}")
            await asyncio.sleep(POLL_S)

    async def account(self) -> Account:
        """Return the ledger, with what Kafka holds beyond it."""
        return await account(self.settings)

    @asynccontextmanager
    async def connection(self, role: Role = "read") -> AsyncIterator[asyncpg.Connection]:
        """Open a connection for a question; none outlives it, since servers are killed."""
        opened = await connect(self.settings, role)
        try:
            yield opened
        finally:
            if not opened.is_closed():
                opened.terminate()

    @asynccontextmanager
    async def readings_locked(self) -> AsyncIterator[None]:
        """Hold the hypertable so that nobody else can even read it."""
        async with self.connection("owner") as connection, connection.transaction():
            await connection.execute(query("drill.lock_readings"))
            yield
