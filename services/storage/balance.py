"""The ledger as a balance: five equations by name, each held for every source, day and state.

Counted figures stand on one side, a second count of the same on the other. All of them are read
in one snapshot, so that a balance taken in the middle of the work holds as well as one at rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import asyncpg

from schemas.channels import CHANNELS
from schemas.outcomes import Outcome
from services.storage.queries import query

SIDES = ("left", "made", "right")
"""Figures of a row that must be the same; ``made`` only where an equation has a middle."""
RECOUNT_TIMEOUT_S = 3600.0

OUTCOMES = (
    Outcome.WRITTEN, Outcome.MERGED, Outcome.DUPLICATE, Outcome.CORRECTED, Outcome.QUARANTINED,
)  # fmt: skip
STATES = ("open", "replayed", "discarded", "expired")

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Equation:
    """One equation: the sums of both sides, and every part of it that does not hold."""

    name: str
    left: int
    right: int
    failing: list[Figures]

    @property
    def holds(self) -> bool:
        """Whether it holds for each of its parts, not only in sum."""
        return not self.failing


@dataclass(frozen=True, slots=True)
class Balance:
    """The whole ledger at one moment."""

    equations: list[Equation]
    messages: dict[str, int]
    readings: dict[str, int]
    quarantine: Figures
    recount: dict[str, int]
    gaps: list[Figures]
    positions: dict[tuple[str, int], int]
    """Where each (topic, partition) goes on, in its newest generation."""
    qos0: int

    @property
    def unacknowledged(self) -> list[Figures]:
        """Gaps that nobody has looked at yet."""
        return [gap for gap in self.gaps if gap["acknowledged_at"] is None]

    @property
    def balanced(self) -> bool:
        """Whether all equations hold and every gap was acknowledged."""
        return all(equation.holds for equation in self.equations) and not self.unacknowledged

    def as_json(self, in_flight: int | None) -> Figures:
        """Return exactly what ``citytally ledger --json`` prints.

        ``in_flight`` are the records that Kafka holds beyond our offsets, None where Kafka could
        not be asked.
        """
        return {
            "balanced": self.balanced,
            "messages": self.messages,
            "readings": self.readings,
            "quarantine": self.quarantine,
            "recount": self.recount,
            "in_flight": in_flight,
            "gaps": self.gaps,
            "equations": [_equation_json(equation) for equation in self.equations],
        }


def _equation_json(equation: Equation) -> Figures:
    return {
        "name": equation.name,
        "left": equation.left,
        "right": equation.right,
        "holds": equation.holds,
        "failing": equation.failing,
    }


async def read_balance(connection: asyncpg.Connection, since: date | None = None) -> Balance:
    """Read the ledger in one snapshot; ``since`` bounds the recount to rows of that day and later.

    The connection must not be inside a transaction: a snapshot cannot be had there any more.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(query("balance.without_time_limit"))
        return await _read(connection, since)


async def _read(connection: asyncpg.Connection, since: date | None) -> Balance:
    logs = await _fetch(connection, "balance.offsets")
    days = await _recount_rows(connection, since)
    return Balance(
        equations=[
            _equation("offsets", logs, ("source",)),
            _equation("readings", await _fetch(connection, "balance.readings"), ("source",)),
            _equation("quarantine", await _fetch(connection, "balance.quarantine"), ("source",)),
            await _recount_equation(connection, days),
            _equation(
                "recount_quarantine",
                await _fetch(connection, "balance.recount_quarantine"),
                ("source", "state"),
            ),
        ],
        messages=_messages(logs),
        readings=await _readings(connection),
        quarantine=await _quarantine(connection),
        recount=await _recount(connection, days),
        gaps=[_gap(row) for row in await _fetch(connection, "offsets.gaps")],
        positions=await _positions(connection),
        qos0=(await _fetch(connection, "balance.qos0"))[0]["n"],
    )


async def _fetch(
    connection: asyncpg.Connection, name: str, *arguments: object, **identifiers: str
) -> list[asyncpg.Record]:
    statement = query(name, **identifiers)
    return list(await connection.fetch(statement, *arguments, timeout=RECOUNT_TIMEOUT_S))


def _equation(name: str, rows: Sequence[asyncpg.Record], keys: Iterable[str]) -> Equation:
    shown = (*keys, *SIDES)
    failing = [
        {column: row[column] for column in shown if column in row} for row in rows if _fails(row)
    ]
    left, right = (sum(row[side] for row in rows) for side in ("left", "right"))
    return Equation(name, left, right, failing)


def _fails(row: asyncpg.Record) -> bool:
    return len({row[side] for side in SIDES if side in row}) > 1


async def _recount_rows(connection: asyncpg.Connection, since: date | None) -> list[asyncpg.Record]:
    """Return what is stored and what is booked, for each kind and day."""
    return [
        row
        for kind in CHANNELS
        for row in await _fetch(
            connection, "balance.recount_rows", kind, since, table=f"{kind}_readings"
        )
    ]


async def _recount_equation(
    connection: asyncpg.Connection, days: Sequence[asyncpg.Record]
) -> Equation:
    """Its sides are the days'; beside them, what is booked must be what was ever written."""
    keys = ("kind", "day")
    each_day = _equation("recount_rows", days, keys)
    over_all = _equation("", await _fetch(connection, "balance.recount_stored"), keys)
    return Equation(
        each_day.name, each_day.left, each_day.right, each_day.failing + over_all.failing
    )


def _messages(logs: Sequence[asyncpg.Record]) -> dict[str, int]:
    return {
        "received": sum(row["left"] for row in logs),
        **{
            name: sum(row[name] for row in logs)
            for name in ("decoded", "undecodable", "liveness", "lost")
        },
    }


async def _readings(connection: asyncpg.Connection) -> dict[str, int]:
    counted = await _counts(connection, "balance.readings_by_outcome", "outcome")
    return {name: counted.get(name, 0) for name in ("decoded", *map(str, OUTCOMES))}


async def _quarantine(connection: asyncpg.Connection) -> Figures:
    counted = await _counts(connection, "balance.quarantine_by_state", "state")
    by_reason = await _counts(connection, "balance.open_by_reason", "reason")
    return {**{state: counted.get(state, 0) for state in STATES}, "by_reason": by_reason}


async def _recount(
    connection: asyncpg.Connection, days: Sequence[asyncpg.Record]
) -> dict[str, int]:
    removed = await _counts(connection, "balance.removed_by_cause", "cause")
    return {
        "rows": sum(row["left"] for row in days),
        **{cause: removed.get(cause, 0) for cause in ("dropped_by_retention", "erased")},
    }


async def _counts(connection: asyncpg.Connection, name: str, key: str) -> dict[str, int]:
    return {row[key]: row["n"] for row in await _fetch(connection, name)}


async def _positions(connection: asyncpg.Connection) -> dict[tuple[str, int], int]:
    rows = await _fetch(connection, "balance.positions")
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


def _gap(row: asyncpg.Record) -> Figures:
    return {
        name: _text(value) if isinstance(value, datetime) else value for name, value in row.items()
    }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
