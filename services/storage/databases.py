"""The database itself: made where it is not there yet."""

import asyncpg

from services.common.settings import Settings
from services.storage.pool import connect
from services.storage.queries import query

_MAINTENANCE = "postgres"
"""The database that every cluster has, from which others are made."""


async def create_database(settings: Settings) -> bool:
    """Make the database of the settings as the owner; False where it exists."""
    elsewhere = settings.model_copy(update={"database_name": _MAINTENANCE})
    connection = await connect(elsewhere, "owner")
    try:
        if await connection.fetchval(query("databases.exists"), settings.database_name):
            return False
        return await _create(connection, settings.database_name)
    finally:
        await connection.close()


async def _create(connection: asyncpg.Connection, name: str) -> bool:
    statement = await connection.fetchval(query("databases.create_statement"), name)
    await connection.execute(statement)
    return True
