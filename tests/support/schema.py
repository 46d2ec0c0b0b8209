"""The hook by which the databases of tests get the schema."""

import asyncio

import asyncpg

from services.storage.migrate import migrate


def migrate_template(dsn: str) -> None:
    """Bring the template that all test databases are copied from to the current schema.

    Called once for each server, with a database that has TimescaleDB and nothing else.
    """
    asyncio.run(_migrate(dsn))


async def _migrate(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await migrate(connection)
    finally:
        await connection.close()
