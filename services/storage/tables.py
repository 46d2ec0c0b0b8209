"""Rows of the readings' hypertables: into them by COPY, out of them as ``Row``."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import asyncpg

from schemas.channels import CHANNELS, TEXT_COLUMNS
from schemas.outcomes import Outcome
from services.storage.failures import UnavailableError
from services.storage.folding import Row, Values
from services.storage.queries import query

Identity = tuple[str, str, datetime]
"""device_id, part, time: what makes a reading one row."""

IDENTITY = ("device_id", "part", "time")
PROVENANCE = (
    "received_at", "time_source", "kafka_partition", "kafka_offset", "batch_id", "interval_s",
    "quality_flags", "extra",
)  # fmt: skip
COPY_TIMEOUT_S = 60.0


class Table:
    """The hypertable of one kind, through one connection, inside the caller's transaction."""

    def __init__(self, connection: asyncpg.Connection, kind: str) -> None:
        self.connection = connection
        self.kind = kind
        self.name = f"{kind}_readings"
        self.channels = (*CHANNELS[kind], *TEXT_COLUMNS[kind])

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All columns that a row of ours fills."""
        return (*IDENTITY, *PROVENANCE, *self.channels)

    async def copy(self, rows: dict[Identity, Row], batch_id: int) -> int:
        """COPY new rows straight in; only the columns that the batch uses travel."""
        used = _used(rows.values(), self.channels)
        return await self._copy(self.name, rows, batch_id, used)

    async def stage(self, rows: dict[Identity, Row], batch_id: int) -> None:
        """Put rows on the stage, in place of what was there."""
        await self.clear_stage()
        await self._copy(f"stage_{self.name}", rows, batch_id, self.channels)

    async def clear_stage(self) -> None:
        """Make the stage if the session has none yet, and empty it."""
        await self.connection.execute(query("readings.create_stage", table=self.name))
        await self.connection.execute(query("readings.clear_stage", table=self.name))

    async def insert_staged(self) -> set[Identity]:
        """Insert the staged rows whose identity is new and return those."""
        columns = ", ".join(self.columns)
        inserted = await self.connection.fetch(
            query("readings.insert_new", table=self.name, columns=columns)
        )
        return {(row["device_id"], row["part"], row["time"]) for row in inserted}

    async def lock_staged(self, span: tuple[datetime, datetime]) -> dict[Identity, Row]:
        """Lock and return the stored rows of the staged identities, between two times."""
        found = await self.connection.fetch(query("readings.lock_existing", table=self.name), *span)
        return {(r["device_id"], r["part"], r["time"]): self._row(r) for r in found}

    async def change_staged(
        self, outcome: Outcome, batch_id: int, span: tuple[datetime, datetime], n: int
    ) -> None:
        """Give stored rows their staged content; what they were goes to the revisions first."""
        await self.connection.execute(
            query("readings.keep_former", table=self.name),
            self.kind,
            batch_id,
            outcome.value,
            *span,
        )
        changing = [column for column in self.columns if column not in IDENTITY]
        done = await self.connection.execute(
            query(
                "readings.change_existing",
                table=self.name,
                columns=", ".join(self.columns),
                changing=", ".join(changing),
                staged=", ".join(f"excluded.{column}" for column in changing),
            )
        )
        if _affected(done) != n:
            message = f"{done} where {n} locked rows of {self.name} were to change"
            raise UnavailableError(message)

    async def former_values(self, identities: Sequence[Identity]) -> dict[Identity, list[Values]]:
        """Return what earlier versions of rows said, newest first."""
        keys = list(zip(*identities, strict=True))
        found = await self.connection.fetch(
            query("readings.former_versions"), self.kind, *map(list, keys)
        )
        versions: dict[Identity, list[Values]] = {}
        for row in found:
            # jsonb writes 1e23 as an integer, which is not the float that it was
            said = json.loads(row["former"], parse_int=float)
            values = {name: said[name] for name in self.channels if said.get(name) is not None}
            versions.setdefault((row["device_id"], row["part"], row["time"]), []).append(values)
        return versions

    async def _copy(
        self, table: str, rows: dict[Identity, Row], batch_id: int, channels: Sequence[str]
    ) -> int:
        done = await self.connection.copy_records_to_table(
            table,
            records=[_record(key, rows[key], batch_id, channels) for key in sorted(rows)],
            columns=(*IDENTITY, *PROVENANCE, *channels),
            timeout=COPY_TIMEOUT_S,
        )
        return _affected(done)

    def _row(self, record: asyncpg.Record) -> Row:
        return Row(
            values={name: record[name] for name in self.channels if record[name] is not None},
            interval_s=record["interval_s"],
            flags=json.loads(record["quality_flags"] or "{}"),
            extra=json.loads(record["extra"] or "{}"),
            time_source=record["time_source"],
            received_at=record["received_at"],
            partition=record["kafka_partition"],
            offset=record["kafka_offset"],
        )


def _used(rows: Iterable[Row], channels: Sequence[str]) -> list[str]:
    used: set[str] = set()
    for row in rows:
        used.update(row.values)
    return [channel for channel in channels if channel in used]


def _record(key: Identity, row: Row, batch_id: int, channels: Sequence[str]) -> tuple[Any, ...]:
    get = row.values.get
    return (
        *key, row.received_at, row.time_source, row.partition, row.offset, batch_id,
        row.interval_s, _json(row.flags), _json(row.extra), *[get(name) for name in channels],
    )  # fmt: skip


def _json(value: dict[str, Any]) -> str | None:
    return json.dumps(value, ensure_ascii=False) if value else None


def _affected(status: str) -> int:
    """Return the number in a command's tag, as in ``COPY 42``."""
    return int(status.rsplit(" ", 1)[1])
