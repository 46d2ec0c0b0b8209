"""Readings of one batch into the tables, whatever they meet there: new, known, contradicting, bad.

Fast where all is new (COPY straight into the hypertable), exact where it is not (staging), and a
row that PostgreSQL refuses is found by halving until it stands alone.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg

from schemas.messages import Refusal
from schemas.outcomes import Outcome
from schemas.reasons import Reason
from services.storage.batches import Copy
from services.storage.failures import REFUSALS, UnavailableError, UnstorableError, is_rejection
from services.storage.folding import Fate, Folded, Row, fold
from services.storage.tables import Identity, Table
from services.storage.texts import is_storable

CLEAN_BATCHES = 8
"""How many batches without a known identity bring a kind back to plain COPY."""
ROUNDS = 20
"""How often a batch looks again for an identity that is neither new nor there, before it waits."""


@dataclass(slots=True)
class Paths:
    """Which kinds go through staging now, for how many batches yet; kept between batches."""

    staging: dict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True, slots=True)
class Work:
    """What one batch's writing needs besides its copies."""

    batch_id: int
    paths: Paths
    replace: bool = False


async def write(table: Table, copies: Sequence[Copy], work: Work) -> list[Fate]:
    """Store copies, in their order, and return what became of each.

    1. in a savepoint, so that a refusal undoes only this attempt;
    2. if PostgreSQL refuses the data, each half on its own, the first before the second;
    3. a copy that is refused alone is the one to blame.
    """
    try:
        async with table.connection.transaction():
            return await _attempt(table, copies, work)
    except REFUSALS as error:
        if not is_rejection(error):
            raise
        if len(copies) == 1:
            refusal = Refusal(Reason.REJECTED_BY_DATABASE, _sentence(error))
            return [Fate(copies[0], Outcome.QUARANTINED, refusal)]
    half = len(copies) // 2
    return await write(table, copies[:half], work) + await write(table, copies[half:], work)


def _sentence(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    return f"{state}: {error}" if state else str(error)


async def _attempt(table: Table, copies: Sequence[Copy], work: Work) -> list[Fate]:
    groups = group(copies)
    _require_storable(groups)
    if not work.replace and work.paths.staging[table.kind] <= 0:
        try:
            async with table.connection.transaction():
                return await _copy_straight(table, groups, work)
        except asyncpg.UniqueViolationError:
            work.paths.staging[table.kind] = CLEAN_BATCHES
    return await _through_stage(table, groups, work)


def _require_storable(groups: dict[Identity, list[Copy]]) -> None:
    """Keep what PostgreSQL refuses from being folded away beside a sound copy of its identity.

    It would count as a duplicate or a conflict here, and as refused if it came in another batch.
    """
    for key, copies in groups.items():
        if len(copies) > 1 and not all(_is_storable(copy) for copy in copies):
            raise UnstorableError(f"a copy of {key} holds what PostgreSQL refuses")


def _is_storable(copy: Copy) -> bool:
    reading = copy.reading
    return is_storable(reading.texts) and is_storable(reading.extra) and is_storable(reading.flags)


def group(copies: Sequence[Copy]) -> dict[Identity, list[Copy]]:
    """Group copies by identity, each group in the order in which they came."""
    groups: dict[Identity, list[Copy]] = {}
    for copy in copies:
        reading = copy.reading
        if reading.time is None:
            message = f"a reading of {reading.device_id} without time reached the writer"
            raise ValueError(message)
        groups.setdefault((reading.device_id, reading.part, reading.time), []).append(copy)
    return groups


async def _copy_straight(
    table: Table, groups: dict[Identity, list[Copy]], work: Work
) -> list[Fate]:
    folded = {key: fold(None, copies) for key, copies in groups.items()}
    n = await table.copy({key: one.row for key, one in folded.items()}, work.batch_id)
    if n != len(folded):
        message = f"COPY stored {n} of {len(folded)} rows"
        raise UnavailableError(message)
    return [fate for one in folded.values() for fate in one.fates]


async def _through_stage(
    table: Table, groups: dict[Identity, list[Copy]], work: Work
) -> list[Fate]:
    """Each round: insert what is new; then, in a new statement, lock and fold what is there.

    An identity in neither was being inserted by a transaction that did not commit: again.
    """
    fates: list[Fate] = []
    known = False
    for _ in range(ROUNDS):
        new = {key: fold(None, copies, replace=work.replace) for key, copies in groups.items()}
        await table.stage({key: one.row for key, one in new.items()}, work.batch_id)
        inserted = await table.insert_staged()
        fates += [fate for key in inserted for fate in new[key].fates]
        groups = {key: copies for key, copies in groups.items() if key not in inserted}
        if groups:
            known = True
            met = await _meet_stored(table, groups, work)
            fates += [fate for one in met.values() for fate in one.fates]
            groups = {key: copies for key, copies in groups.items() if key not in met}
        if not groups:
            remember(work.paths, table.kind, known=known)
            return fates
    message = f"{len(groups)} identities of {table.name} come and go"
    raise UnavailableError(message)


def remember(paths: Paths, kind: str, *, known: bool) -> None:
    """Note whether a batch met a known identity: staging goes on, or comes nearer its end."""
    paths.staging[kind] = CLEAN_BATCHES if known else paths.staging[kind] - 1


async def _meet_stored(
    table: Table, groups: dict[Identity, list[Copy]], work: Work
) -> dict[Identity, Folded]:
    times = [key[2] for key in groups]
    span = (min(times), max(times))
    stored = await table.lock_staged(span)
    met = {
        key: fold(_copy_of(stored[key]), copies, replace=work.replace)
        for key, copies in groups.items()
        if key in stored
    }
    await _look_at_former(table, groups, stored, met)
    for outcome in (Outcome.MERGED, Outcome.CORRECTED):
        rows = {key: one.row for key, one in met.items() if _change(one) is outcome}
        if rows:
            await table.stage(rows, work.batch_id)
            await table.change_staged(outcome, work.batch_id, span, len(rows))
    return met


async def _look_at_former(
    table: Table,
    groups: dict[Identity, list[Copy]],
    stored: dict[Identity, Row],
    met: dict[Identity, Folded],
) -> None:
    """Fold again what contradicts its row, with the row's earlier versions at hand."""
    disputed = [
        key
        for key, one in met.items()
        if any(fate.outcome is Outcome.QUARANTINED for fate in one.fates)
    ]
    if not disputed:
        return
    former = await table.former_values(disputed)
    for key in disputed:
        if key in former:
            met[key] = fold(_copy_of(stored[key]), groups[key], former[key])


def _change(folded: Folded) -> Outcome | None:
    """Return how the stored row changes: corrected outweighs merged."""
    if not folded.changed:
        return None
    outcomes = {fate.outcome for fate in folded.fates}
    return Outcome.CORRECTED if Outcome.CORRECTED in outcomes else Outcome.MERGED


def _copy_of(row: Row) -> Row:
    """Return a row that may be folded into, apart from the stored one."""
    return Row(
        dict(row.values), row.interval_s, dict(row.flags), dict(row.extra), row.time_source,
        row.received_at, row.partition, row.offset,
    )  # fmt: skip
