"""What ingest knows of the registry: all devices in memory, learned anew when it changes."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import asyncpg

from services.decoding.judging import Device
from services.storage import registry

OVERLAP = timedelta(minutes=5)
"""How far a refresh looks back behind the newest row it has seen: a slow writer's rows are stamped
before they are visible."""


class Devices:
    """The registered devices by id. Empty until the first ``refresh``."""

    def __init__(self, zone: str) -> None:
        self._zone = zone
        self._known: dict[str, Device] = {}
        self._newest: datetime | None = None

    def __len__(self) -> int:
        return len(self._known)

    def get(self, device_id: str) -> Device | None:
        """Return a device, None where it is not known."""
        return self._known.get(device_id)

    async def refresh(self, connection: asyncpg.Connection) -> None:
        """Learn what was registered or changed since the last refresh; all of it at first."""
        since = None if self._newest is None else self._newest - OVERLAP
        self._take(await registry.judged_by(connection, since=since))

    async def look_up(self, connection: asyncpg.Connection, device_ids: Iterable[str]) -> None:
        """Ask for devices that a batch names and nobody knows yet, before it refuses them."""
        unknown = sorted({each for each in device_ids if each not in self._known})
        if unknown:
            self._take(await registry.judged_by(connection, device_ids=unknown))

    def _take(self, rows: Iterable[asyncpg.Record]) -> None:
        for row in rows:
            self._known[row["device_id"]] = Device(
                row["device_id"], row["device_type"], row["data_from"], self._zone
            )
            if self._newest is None or row["stored_at"] > self._newest:
                self._newest = row["stored_at"]
