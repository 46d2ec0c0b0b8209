"""What the registry says now of some devices and sites, and what of theirs waits in quarantine."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from services.storage.queries import query


@dataclass(frozen=True, slots=True)
class Known:
    """Current rows: devices by id, sites by id, deployments by (device, part)."""

    devices: dict[str, asyncpg.Record]
    sites: dict[str, asyncpg.Record]
    deployments: dict[tuple[str, str], asyncpg.Record]


async def known(
    connection: asyncpg.Connection, device_ids: Sequence[str], site_ids: Sequence[str]
) -> Known:
    """Return what is current of these; who is not known is not in it."""
    devices = await connection.fetch(query("registry.current"), device_ids)
    sites = await connection.fetch(query("registry.current_sites"), site_ids)
    deployments = await connection.fetch(query("registry.current_deployments"), device_ids)
    return Known(
        {row["device_id"]: row for row in devices},
        {row["site_id"]: row for row in sites},
        {(row["device_id"], row["part"]): row for row in deployments},
    )


async def waiting_messages(connection: asyncpg.Connection, device_ids: Sequence[str]) -> list[int]:
    """Return the quarantined messages with open items of these devices, oldest first."""
    rows = await connection.fetch(query("quarantine.waiting_of"), device_ids)
    return [row["message_id"] for row in rows]


async def open_reasons(connection: asyncpg.Connection, device_ids: Sequence[str]) -> dict[str, int]:
    """Return how many items of these devices are open, by reason."""
    rows = await connection.fetch(query("quarantine.open_reasons_of"), device_ids)
    return {row["reason"]: row["n"] for row in rows}
