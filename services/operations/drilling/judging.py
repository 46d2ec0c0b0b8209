"""What every scenario must leave behind, whatever was done to the city.

1. everything that was acknowledged is through: a last message is a row and Kafka holds no more;
2. every reading that was acknowledged is a row exactly once, and no row was sent by nobody;
3. quarantine holds exactly what was to be refused, each for its reason;
4. the five equations hold, and exactly the expected gaps are booked;
5. the gaps are acknowledged, and then the ledger balances.
"""

import asyncio
import getpass
import time
from collections.abc import Collection

import asyncpg

from services.operations.accounting import Account, acknowledge
from services.operations.drilling import questions
from services.operations.drilling.readings import Row
from services.operations.drilling.result import Promise
from services.operations.drilling.run import Place, Run
from services.operations.drilling.stage import POLL_S

STILL_S = 5.0
"""How long nothing may move before what is missing is missing."""
SHOWN = 3


async def judge(run: Run, before: Account) -> Account:
    """Hold the whole database and ledger against all that was sent; return the ledger."""
    await run.stage.make_whole()
    await run.settle()
    await _until_still(run)
    rows = await questions.rows(run.stage)
    _judge_rows(run, rows)
    await _judge_quarantine(run)
    after = await run.stage.account()
    _judge_equations(run, after)
    _judge_gaps(run, before, after)
    after = await _acknowledge_gaps(run, after)
    _count(run, before, after)
    return after


async def _until_still(run: Run) -> None:
    """Wait for what a chunk that failed once still brings, as long as anything moves."""
    moved_at, missing = time.monotonic(), len(run.stage.due)
    allowed = run.lost | run.may_be_lost
    while time.monotonic() - moved_at < STILL_S:
        now = len(run.stage.due - allowed - _stored(await questions.rows(run.stage)))
        if now == 0:
            return
        if now < missing:
            moved_at, missing = time.monotonic(), now
        await asyncio.sleep(POLL_S)


def _stored(rows: Collection[asyncpg.Record]) -> set[Row]:
    return {Row(row["device_id"], row["time"], row["co2_ppm"]) for row in rows}


def _judge_rows(run: Run, rows: Collection[asyncpg.Record]) -> None:
    stage, stored = run.stage, _stored(rows)
    forgotten = run.may_be_lost - stored
    run.result.counts.lost = len(forgotten) + len(run.lost)
    stage.due -= forgotten | run.lost
    missing = stage.due - stored
    lost = run.result.counts.lost
    beside = f", {lost} more are lost as expected" if lost else ""
    run.found(
        Promise.P1,
        not missing,
        f"{len(missing)} of {len(stage.due)} acknowledged readings are no row{_some(missing)}"
        if missing
        else f"all {len(stage.due)} acknowledged readings are rows{beside}",
    )
    twice = len(rows) - len({(row["device_id"], row["time"]) for row in rows})
    strange = stored - stage.sent
    run.found(
        Promise.P2, not twice and not strange,
        f"{twice} identities are stored twice, {len(strange)} rows were sent by nobody"
        f"{_some(strange)}" if twice or strange else f"each of {len(rows)} rows is there once",
    )  # fmt: skip
    if stolen := run.lost & stored:
        run.found(Promise.P3, False, f"{len(stolen)} readings booked as lost are rows")


async def _judge_quarantine(run: Run) -> None:
    there, due = await questions.quarantined(run.stage), run.stage.refused
    lacking, strange = due - there.keys(), there.keys() - due
    holds = not lacking and not strange
    says = (
        f"{len(lacking)} refused messages are not in quarantine{_some(lacking)}, {len(strange)} "
        f"are there for no reason{_some(strange)}"
    )
    # For a database that was away nothing may be refused: there the same count proves P5.
    promise = Promise.P5 if Promise.P5 in run.result.promises else Promise.P4
    run.found(
        promise, holds,
        f"quarantine holds exactly the {len(due)} bad messages" if holds else says,
    )  # fmt: skip


def _judge_equations(run: Run, after: Account) -> None:
    failing = [each for each in after.balance.equations if not each.holds]
    says = "; ".join(
        f"equation {each.name} fails: {each.left} ≠ {each.right}, {each.failing[:SHOWN]}"
        for each in failing
    )
    run.found(Promise.P3, not failing, says or "the five equations hold")
    if after.in_flight != 0:
        run.found(Promise.P3, False, f"{after.in_flight} records wait in Kafka")


def _judge_gaps(run: Run, before: Account, after: Account) -> None:
    known = {gap["gap_id"] for gap in before.balance.gaps}
    new = [gap for gap in after.balance.gaps if gap["gap_id"] not in known]
    booked: list[Place] = [(gap["partition"], gap["first_offset"], gap["next_offset"])
                           for gap in new]  # fmt: skip
    run.result.counts.gaps = len(new)
    if sorted(booked, key=str) == sorted(run.gaps, key=str):
        if new:
            run.found(Promise.P3, True, f"exactly the {len(new)} expected gaps are booked")
        return
    run.found(
        Promise.P3, False,
        f"{len(booked)} gaps are booked where {len(run.gaps)} were due: too many "
        f"{sorted(set(booked) - run.gaps, key=str)[:SHOWN]}, too few "
        f"{sorted(run.gaps - set(booked), key=str)[:SHOWN]}",
    )  # fmt: skip


async def _acknowledge_gaps(run: Run, after: Account) -> Account:
    """Acknowledge all gaps as a person would; afterwards the ledger must balance."""
    if not after.balance.unacknowledged:
        return after
    note = f"drill: {run.result.name}"
    gaps = await acknowledge(run.stage.settings, None, getpass.getuser(), note)
    again = await run.stage.account()
    run.found(
        Promise.P3, again.balance.balanced,
        f"{len(gaps)} gaps acknowledged; the ledger "
        f"{'balances' if again.balance.balanced else 'still does not balance'}",
    )  # fmt: skip
    return again


def _count(run: Run, before: Account, after: Account) -> None:
    counts, readings = run.result.counts, after.balance.readings
    counts.stored = after.balance.recount["rows"] - before.balance.recount["rows"]
    counts.duplicate = readings["duplicate"] - before.balance.readings["duplicate"]
    if run.duplicates is not None and counts.duplicate != run.duplicates:
        says = f"{counts.duplicate} copies were found to be duplicates, not {run.duplicates}"
        run.found(Promise.P2, False, says)
    counts.quarantined = _items(after) - _items(before)
    if run.exactly_once and counts.quarantined != run.refused:
        says = f"{run.refused} bad messages made {counts.quarantined} items"
        run.found(Promise.P4, False, says)


def _items(account: Account) -> int:
    quarantine = account.balance.quarantine
    return sum(n for state, n in quarantine.items() if state != "by_reason")


def _some(found: Collection[object]) -> str:
    return f", e.g. {', '.join(map(str, sorted(found, key=str)[:SHOWN]))}" if found else ""
