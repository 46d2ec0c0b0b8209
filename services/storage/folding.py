"""Several copies of one identity become one row, one after the other, whatever brings them.

Pure. The same rules hold for copies within a batch and for a copy that meets a stored row, so any
split of one order gives the same row and the same counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.messages import Reading, Refusal
from schemas.outcomes import Flag, Outcome
from schemas.reasons import Reason
from services.storage.batches import Copy

Values = dict[str, float | str]


@dataclass(slots=True)
class Row:
    """One identity as it will be stored: what it says, and which message said so last."""

    values: Values
    interval_s: float | None
    flags: dict[str, dict[str, Any]]
    extra: dict[str, Any]
    time_source: str
    received_at: datetime
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one copy; ``refusal`` says why where it was refused."""

    copy: Copy
    outcome: Outcome
    refusal: Refusal | None = None


@dataclass(slots=True)
class Folded:
    """A group of copies of one identity, folded."""

    row: Row
    fates: list[Fate]
    changed: bool
    new: bool


def first(copy: Copy) -> Row:
    """Return the row that an identity's first copy makes."""
    reading, arrival = copy.reading, copy.arrival
    return Row(
        values={**reading.values, **reading.texts},
        interval_s=reading.interval_s,
        flags=dict(reading.flags or {}),
        extra=dict(reading.extra or {}),
        time_source=reading.time_source,
        received_at=arrival.received_at,
        partition=arrival.partition,
        offset=arrival.offset,
    )


def fold(
    stored: Row | None,
    copies: Sequence[Copy],
    former: Sequence[Values] = (),
    *,
    replace: bool = False,
) -> Folded:
    """Run copies one by one against the stored row, or against the first of them.

    ``former`` are the values of earlier versions of the row: who repeats one is a duplicate.
    ``replace`` lets other values take the place of the stored ones (an accepted conflict).
    """
    fates: list[Fate] = []
    rest: Iterable[Copy] = copies
    row = stored
    if row is None:
        row, rest = first(copies[0]), copies[1:]
        fates.append(Fate(copies[0], Outcome.WRITTEN))
    changed = False
    for copy in rest:
        fate = _meet(row, copy, former, replace=replace)
        changed |= fate.outcome in (Outcome.MERGED, Outcome.CORRECTED)
        fates.append(fate)
    return Folded(row, fates, changed, stored is None)


def _meet(row: Row, copy: Copy, former: Sequence[Values], *, replace: bool) -> Fate:
    said: Values = {**copy.reading.values, **copy.reading.texts}
    others = {name: value for name, value in said.items() if row.values.get(name, value) != value}
    if others and replace:
        _take(row, copy, said)
        return Fate(copy, Outcome.CORRECTED)
    if others and any(_says(version, said) for version in former):
        return Fate(copy, Outcome.DUPLICATE)
    if others:
        return Fate(copy, Outcome.QUARANTINED, conflict(row.values, others))
    return Fate(copy, Outcome.MERGED if _fill(row, copy, said) else Outcome.DUPLICATE)


def _says(version: Values, said: Values) -> bool:
    return all(version.get(name) == value for name, value in said.items())


def conflict(stored: Values, others: Values) -> Refusal:
    """Say which channels disagree, with both values."""
    pairs = "; ".join(
        f"{name}: stored {stored[name]!r}, sent {value!r}" for name, value in sorted(others.items())
    )
    return Refusal(Reason.CONFLICT, f"the same reading is stored with another value: {pairs}")


def _take(row: Row, copy: Copy, said: Values) -> None:
    """Let a copy's values replace the row's; its flags come with them."""
    for name in said:
        row.flags.pop(name, None)
    row.values.update(said)
    _fill_rest(row, copy.reading)
    _stamp(row, copy)


def _fill(row: Row, copy: Copy, said: Values) -> bool:
    """Fill what the row lacks; return whether anything was filled."""
    new = {name: value for name, value in said.items() if name not in row.values}
    for name in new:  # a value takes the place of a note that it was withheld
        row.flags.pop(name, None)
    row.values.update(new)
    filled = _fill_rest(row, copy.reading) or bool(new)
    if filled:
        _stamp(row, copy)
    return filled


def _fill_rest(row: Row, reading: Reading) -> bool:
    """Fill interval, flags and extra where the row has none; return whether anything was filled.

    A flag belongs to the value it was found with: suspect only beside the copy's own value, failed
    (withheld) only while no copy has a value for the channel.
    """
    before = (row.interval_s, len(row.flags), len(row.extra))
    if row.interval_s is None:
        row.interval_s = reading.interval_s
    for name, flag in (reading.flags or {}).items():
        own = flag["flag"] != Flag.FAIL and row.values.get(name) == _value(reading, name)
        if own or (flag["flag"] == Flag.FAIL and name not in row.values):
            row.flags.setdefault(name, flag)
    for name, value in (reading.extra or {}).items():
        row.extra.setdefault(name, value)
    return before != (row.interval_s, len(row.flags), len(row.extra))


def _value(reading: Reading, name: str) -> float | str | None:
    return reading.values.get(name, reading.texts.get(name))


def _stamp(row: Row, copy: Copy) -> None:
    """A changed row names the message that changed it."""
    row.received_at = copy.arrival.received_at
    row.partition, row.offset = copy.arrival.partition, copy.arrival.offset
