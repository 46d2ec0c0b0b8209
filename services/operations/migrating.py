"""Bring a database to the current schema, and give its roles their passwords."""

from services.common.settings import MissingSecretError, Settings
from services.storage.migrate import migrate, set_passwords
from services.storage.pool import ROLES, connect


async def migrate_database(settings: Settings) -> list[str]:
    """Run what has not run yet, as the owner; return the names of the migrations that ran.

    1. migrations, each in a transaction of its own;
    2. the passwords of those roles whose secret is there. A role without one can't log in.
    """
    connection = await connect(settings, "owner")
    try:
        ran = await migrate(connection)
        await set_passwords(connection, known_passwords(settings))
    finally:
        await connection.close()
    return ran


def known_passwords(settings: Settings) -> dict[str, str]:
    """Return the passwords of the roles whose secret's file is there."""
    found = ((role, _secret(settings, role)) for role in ROLES.values())
    return {role: password for role, password in found if password is not None}


def _secret(settings: Settings, account: str) -> str | None:
    try:
        return settings.secret(account)
    except MissingSecretError:
        return None
