"""The ledger's counters at a glance: cheap enough to be read every second.

Nothing is recounted here; that ``citytally ledger`` does, by ``balance``.
"""

from dataclasses import dataclass

import asyncpg

from services.storage import registry
from services.storage.queries import query


@dataclass(frozen=True, slots=True)
class Figures:
    """Counters of one snapshot.

    ``refused`` is what must lie in quarantine by the ledger, ``quarantine`` what does by its
    states; ``positions`` says where each (topic, partition) goes on.
    """

    messages: dict[str, int]
    readings: dict[str, int]
    refused: int
    quarantine: dict[str, int]
    open_by_reason: dict[str, int]
    rows: dict[str, int]
    devices: dict[str, int]
    unacknowledged_gaps: int
    positions: dict[tuple[str, int], int]


async def read_figures(connection: asyncpg.Connection) -> Figures:
    """Read all counters in one snapshot, so that they balance in the middle of the work too."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        messages = dict(await connection.fetchrow(query("figures.messages")) or {})
        readings = await _counts(connection, "balance.readings_by_outcome", "outcome")
        again = await connection.fetchval(query("figures.undecodable_again"))
        positions = await connection.fetch(query("balance.positions"))
        return Figures(
            messages=messages,
            readings=readings,
            refused=again + readings.get("quarantined", 0),
            quarantine=await _counts(connection, "balance.quarantine_by_state", "state"),
            open_by_reason=await _counts(connection, "balance.open_by_reason", "reason"),
            rows=await _counts(connection, "figures.rows", "kind"),
            devices=await registry.count_devices(connection),
            unacknowledged_gaps=await connection.fetchval(query("figures.unacknowledged_gaps")),
            positions={(row["topic"], row["partition"]): row["next_offset"] for row in positions},
        )


async def _counts(connection: asyncpg.Connection, name: str, key: str) -> dict[str, int]:
    return {row[key]: row["n"] for row in await connection.fetch(query(name))}


async def messages_consumed(connection: asyncpg.Connection) -> int:
    """Return how many messages were consumed or lost, over all logs; the cheapest of questions."""
    n: int = await connection.fetchval(query("figures.messages_consumed"))
    return n
