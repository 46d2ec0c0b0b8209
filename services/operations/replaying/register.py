"""Register what recorded or simulated devices are, in the database of the settings."""

from collections.abc import Sequence

import asyncpg

from schemas.registry import Deployment, Device, Site
from services.common.settings import Settings
from services.operations.replaying.play import Register
from services.storage import pool, registry
from services.storage.failures import UnavailableError, is_unavailable

_NOT_SET_UP = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.UndefinedTableError,
)
"""A server that answers, without the database, the role or the tables."""


def in_database(settings: Settings) -> Register:
    """Return a function that registers items in one transaction of a connection of its own.

    It raises UnavailableError where the database is away or not set up.
    """

    async def register(
        *,
        devices: Sequence[Device],
        sites: Sequence[Site],
        deployments: Sequence[Deployment],
    ) -> object:
        try:
            return await _register(settings, devices, sites, deployments)
        except _NOT_SET_UP as error:
            raise UnavailableError(f"{error} (`citytally migrate` sets the database up)") from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            if is_unavailable(error):
                raise UnavailableError(f"the database is away: {error}") from error
            raise

    return register


async def _register(
    settings: Settings,
    devices: Sequence[Device],
    sites: Sequence[Site],
    deployments: Sequence[Deployment],
) -> registry.Registered:
    connection = await pool.connect(settings, "operate")
    try:
        return await registry.register(
            connection,
            devices=devices,
            sites=sites,
            deployments=deployments,
            accept_past_days=settings.accept_past_days,
        )
    finally:
        await connection.close()
