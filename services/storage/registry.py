"""The registry: which devices there are, where they stood, and since when. Append-only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, TypeVar

import asyncpg

from schemas.channels import KINDS
from schemas.registry import Deployment, Device, Site, check
from services.storage.queries import query

Item = TypeVar("Item")

CHANGED = "citytally_registry"
"""The channel on which PostgreSQL notifies of a changed registry."""


@dataclass(frozen=True, slots=True)
class Registered:
    """How many devices, sites and deployments a registration added or changed."""

    new_devices: int
    changed_devices: int
    sites: int
    deployments: int


async def register(
    connection: asyncpg.Connection,
    *,
    devices: Sequence[Device] = (),
    sites: Sequence[Site] = (),
    deployments: Sequence[Deployment] = (),
    accept_past_days: int = 400,
) -> Registered:
    """Add what is new or changed, all or nothing; what is known and the same is left alone.

    Raises:
        InvalidRegistryError: naming the first item that the registry does not take.
    """
    for group in (devices, sites, deployments):
        for item in group:
            check(item)
    async with connection.transaction():
        await connection.execute(query("registry.one_at_a_time"))
        added = await _add_devices(connection, devices, timedelta(days=accept_past_days))
        return Registered(
            new_devices=sum(row["is_new"] for row in added),
            changed_devices=sum(not row["is_new"] for row in added),
            sites=await _add_sites(connection, sites),
            deployments=await _add_deployments(connection, deployments),
        )


async def _add_devices(
    connection: asyncpg.Connection, devices: Sequence[Device], past: timedelta
) -> list[asyncpg.Record]:
    rows = [
        (
            d.device_id,
            d.device_type,
            d.name,
            d.owner,
            d.licence,
            str(d.station_class),
            str(d.origin),
            d.data_from,
            d.expected_from,
        )
        for d in _once(devices, attrgetter("device_id"))
    ]
    if not rows:
        return []
    return list(await connection.fetch(query("registry.add_devices"), *_columns(rows), past))


async def _add_sites(connection: asyncpg.Connection, sites: Sequence[Site]) -> int:
    rows = [
        (s.site_id, s.name, s.latitude, s.longitude, s.altitude_m, s.area, s.road_segment)
        for s in _once(sites, attrgetter("site_id"))
    ]
    return await _insert(connection, "registry.add_sites", rows)


async def _add_deployments(
    connection: asyncpg.Connection, deployments: Sequence[Deployment]
) -> int:
    rows = [
        (
            d.device_id,
            d.part,
            d.site_id,
            d.valid_from,
            d.valid_to,
            d.height_m,
            d.exposure,
            d.expected_interval_s,
            d.schedule,
            d.firmware,
        )
        for d in _once(deployments, attrgetter("device_id", "part", "valid_from"))
    ]
    return await _insert(connection, "registry.add_deployments", rows)


async def _insert(
    connection: asyncpg.Connection, name: str, rows: Sequence[tuple[Any, ...]]
) -> int:
    if not rows:
        return 0
    done = await connection.execute(query(name), *_columns(rows))
    return int(done.rsplit(" ", 1)[1])


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _once(items: Sequence[Item], key: Callable[[Item], object]) -> list[Item]:
    """The last of several items of one name stands."""
    return list({key(item): item for item in items}.values())


async def judged_by(
    connection: asyncpg.Connection,
    *,
    since: datetime | None = None,
    device_ids: Sequence[str] | None = None,
) -> list[asyncpg.Record]:
    """Return what readings are judged by: of all devices, of some, or of those changed since."""
    if device_ids is not None:
        return list(await connection.fetch(query("registry.judged_by_ids"), device_ids))
    if since is not None:
        return list(await connection.fetch(query("registry.judged_by_since"), since))
    return list(await connection.fetch(query("registry.judged_by_all")))


async def list_devices(
    connection: asyncpg.Connection,
    *,
    origin: str | None = None,
    device_type: str | None = None,
    limit: int = 1000,
) -> list[asyncpg.Record]:
    """Return current devices with where they stand."""
    return list(await connection.fetch(query("registry.list"), origin, device_type, limit))


async def count_devices(connection: asyncpg.Connection) -> dict[str, int]:
    """Return the number of devices by origin."""
    return {row["origin"]: row["n"] for row in await connection.fetch(query("registry.count"))}


@dataclass(frozen=True, slots=True)
class Portrait:
    """All that is known of one device."""

    versions: list[asyncpg.Record]
    deployments: list[asyncpg.Record]
    newest: dict[str, asyncpg.Record]
    open_items: dict[str, int]


async def portrait(connection: asyncpg.Connection, device_id: str) -> Portrait:
    """Return versions, deployments, the newest reading of each kind, and open refusals."""
    newest = {}
    for kind in KINDS:
        statement = query("registry.newest_reading", table=f"{kind}_readings")
        row = await connection.fetchrow(statement, device_id)
        if row is not None:
            newest[kind] = row
    return Portrait(
        list(await connection.fetch(query("registry.versions"), device_id)),
        list(await connection.fetch(query("registry.deployments_of"), device_id)),
        newest,
        {
            row["reason"]: row["n"]
            for row in await connection.fetch(query("registry.open_items"), device_id)
        },
    )
