"""What the database holds of single messages and readings: evidence for an audit."""

from collections import defaultdict
from collections.abc import Collection

import asyncpg

from services.storage.folding import Values
from services.storage.queries import query
from services.storage.tables import Identity, Table

Place = tuple[int, int, int]
"""generation, partition, offset: which record of a topic."""


async def said(
    connection: asyncpg.Connection, kind: str, identities: Collection[Identity]
) -> dict[Identity, list[Values]]:
    """Return what each identity's row says and what its earlier versions said."""
    table = Table(connection, kind)
    keys = sorted(identities)
    if not keys:
        return {}
    versions = await table.former_values(keys)
    rows = await connection.fetch(
        query("evidence.rows", table=table.name), *map(list, zip(*keys, strict=True))
    )
    for row in rows:
        values = {name: row[name] for name in table.channels if row[name] is not None}
        versions.setdefault((row["device_id"], row["part"], row["time"]), []).append(values)
    return versions


async def items(
    connection: asyncpg.Connection, topic: str, places: Collection[Place]
) -> dict[Place, set[int | None]]:
    """Return the positions of the items of each record, open or closed; None: the whole message."""
    found: dict[Place, set[int | None]] = defaultdict(set)
    if not places:
        return found
    columns = map(list, zip(*sorted(places), strict=True))
    for row in await connection.fetch(query("evidence.items"), topic, *columns):
        found[row["generation"], row["partition"], row["kafka_offset"]].add(row["position"])
    return found
