"""What ingest knows of the registry: all devices in memory, learned anew when it changes."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache

import asyncpg

from services.decoding.columns import BEGINNING_US, Lane, Route, lane, microseconds
from services.decoding.conventions import native
from services.decoding.judging import Device
from services.storage import registry

OVERLAP = timedelta(minutes=5)
"""How far a refresh looks back behind the newest row it has seen: a slow writer's rows are stamped
before they are visible."""


@lru_cache(maxsize=1024)
def _begins_us(data_from: datetime) -> int:
    # Devices that were registered together share it.
    return max(BEGINNING_US, microseconds(data_from))


class Devices:
    """The registered devices by id. Empty until the first ``refresh``."""

    def __init__(self, zone: str) -> None:
        self._zone = zone
        self._known: dict[str, Device] = {}
        self._newest: datetime | None = None
        self._lanes: dict[tuple[str, str], Lane] = {}
        self.routes: dict[bytes, Route] = {}
        """Where the messages of a topic go, as far as ``route`` was asked."""

    def __len__(self) -> int:
        return len(self._known)

    def get(self, device_id: str) -> Device | None:
        """Return a device, None where it is not known."""
        return self._known.get(device_id)

    def route(self, topic: bytes | None) -> Route | None:
        """Return where the messages of a topic go; None where they are to be read singly.

        Only routes of registered devices are kept, so that invented topics take no memory.
        """
        if topic is None:
            return None
        known = self.routes.get(topic)
        if known is not None:
            return known
        found = native.addressed(topic)
        device = None if found is None else self._known.get(found[1].decode("utf-8", "replace"))
        if found is None or device is None:
            return None
        route = self.routes[topic] = self._new_route(found[0], device)
        return route

    def _new_route(self, kind: str, device: Device) -> Route:
        key = (kind, device.device_type)
        if key not in self._lanes:
            self._lanes[key] = lane(*key)
        begins = BEGINNING_US if device.data_from is None else _begins_us(device.data_from)
        return Route(device.device_id, device.device_id.encode(), self._lanes[key], begins)

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
            device = Device(row["device_id"], row["device_type"], row["data_from"], self._zone)
            former = self._known.get(device.device_id)
            if former is not None and former != device:
                self.routes.clear()
            self._known[device.device_id] = device
            if self._newest is None or row["stored_at"] > self._newest:
                self._newest = row["stored_at"]
