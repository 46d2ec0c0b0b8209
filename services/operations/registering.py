"""Register devices from rows that a person writes, and replay what they had sent before."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from services.common.settings import Settings
from services.operations.device_rows import Items, Row, RowError, cleaned, items
from services.operations.mending import Attempt, replay_message
from services.storage import registry
from services.storage.known import known, open_reasons, waiting_messages
from services.storage.registry import Registered

PROBLEMS_TOLD = 10

OnReplay = Callable[[int, int], None]
"""Told how many of how many waiting messages were replayed."""


@dataclass(slots=True)
class Outcome:
    """What a registration did, and what became of the items that had waited for it.

    ``closed`` items left quarantine, by this replay or by ingest's own sweep, which begins as soon
    as the registry changes; ``readings`` counts what this replay stored, by outcome.
    """

    registered: Registered
    waited: int = 0
    closed: int = 0
    still_open: dict[str, int] = field(default_factory=dict)
    readings: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        done = self.registered
        return {
            "new_devices": done.new_devices, "changed_devices": done.changed_devices,
            "sites": done.sites, "deployments": done.deployments, "waited": self.waited,
            "closed": self.closed, "still_open": self.still_open, "readings": dict(self.readings),
        }  # fmt: skip


async def register_rows(
    connection: asyncpg.Connection,
    settings: Settings,
    rows: Sequence[Row],
    who: str,
    on_replay: OnReplay = lambda _done, _of: None,
) -> Outcome:
    """Register all rows or none, then replay what their devices had sent.

    1. rows are understood, with what the registry knows already;
    2. devices, sites and deployments are added in one transaction;
    3. each message of theirs that waits in quarantine is run again, in a transaction of its own.

    Raises:
        RowError: naming the rows and what is wrong with them.
        InvalidRegistryError: naming the item that the registry does not take.
    """
    understood = await _understood(connection, settings, rows)
    ids = sorted({each.device.device_id for each in understood})
    before = await open_reasons(connection, ids)
    registered = await registry.register(
        connection,
        devices=[each.device for each in understood],
        sites=[each.site for each in understood if each.site],
        deployments=[each.deployment for each in understood if each.deployment],
        accept_past_days=settings.accept_past_days,
    )
    outcome = Outcome(registered, waited=sum(before.values()))
    await _replay(connection, settings, ids, who, outcome, on_replay)
    return outcome


async def _understood(
    connection: asyncpg.Connection, settings: Settings, rows: Sequence[Row]
) -> list[Items]:
    said = _each(rows, cleaned)
    current = await known(
        connection,
        [row["device_id"] for row in said],
        [row["site_id"] for row in said if "site_id" in row],
    )
    far_back = datetime.now(UTC) - timedelta(days=settings.accept_past_days)
    return _each(said, lambda row: items(row, current, far_back))


def _each(rows: Sequence[Row], understand: Callable[[Row], Any]) -> list[Any]:
    """Return what each row says, or name all rows that can't be understood together."""
    done, problems = [], []
    for n, row in enumerate(rows, 1):
        try:
            done.append(understand(row))
        except RowError as error:
            problems.append(f"row {n}: {error}" if len(rows) > 1 else str(error))
    if problems:
        more = len(problems) - PROBLEMS_TOLD
        told = problems[:PROBLEMS_TOLD] + ([f"and {more} more"] if more > 0 else [])
        raise RowError("; ".join(told))
    return done


async def _replay(
    connection: asyncpg.Connection,
    settings: Settings,
    ids: Sequence[str],
    who: str,
    outcome: Outcome,
    on_replay: OnReplay,
) -> None:
    messages = await waiting_messages(connection, ids)
    for done, message_id in enumerate(messages, 1):
        replayed = await replay_message(connection, settings, message_id, Attempt(who))
        outcome.readings.update(replayed.readings)
        on_replay(done, len(messages))
    outcome.still_open = await open_reasons(connection, ids)
    outcome.closed = max(0, outcome.waited - sum(outcome.still_open.values()))
