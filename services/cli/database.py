"""One connection for one command, closed again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from services.common.settings import Role, Settings
from services.storage.pool import connect

Result = TypeVar("Result")


def with_database(
    settings: Settings, role: Role, work: Callable[[asyncpg.Connection], Awaitable[Result]]
) -> Result:
    """Run a command's work over a connection of that role."""
    return asyncio.run(_with_database(settings, role, work))


async def _with_database(
    settings: Settings, role: Role, work: Callable[[asyncpg.Connection], Awaitable[Result]]
) -> Result:
    connection = await connect(settings, role)
    try:
        return await work(connection)
    finally:
        await connection.close()
