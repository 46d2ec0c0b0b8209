"""Connections to PostgreSQL, each under the role of its work."""

import asyncpg

from services.common.settings import Role, Settings

ROLES: dict[Role, str] = {
    "ingest": "citytally_ingest",
    "derive": "citytally_derive",
    "read": "citytally_read",
    "operate": "citytally_operate",
}


async def connect(settings: Settings, role: Role) -> asyncpg.Connection:
    """Open one connection as ``role``.

    A server that hangs is found by ``statement_timeout_s`` on the server's side and by the same
    limit (with some grace) on ours, since a frozen server enforces nothing.
    """
    user = settings.owner_user if role == "owner" else ROLES[role]
    limit_ms = str(int(settings.statement_timeout_s * 1000))
    return await asyncpg.connect(
        host=settings.database_host,
        port=settings.database_port,
        database=settings.database_name,
        user=user,
        password=settings.secret(user),
        timeout=10,
        command_timeout=None if role == "owner" else settings.statement_timeout_s + 5,
        server_settings={
            "application_name": f"citytally {role}",
            "timezone": "UTC",
            "statement_timeout": "0" if role == "owner" else limit_ms,
            "jit": "off",
        },
    )
