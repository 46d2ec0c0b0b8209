"""P1 to P5 for long: at 70 % of what this machine can do, whatever is killed, frozen or stopped.

``make soak`` runs it for 15 minutes. ``SOAK_SECONDS``, ``SOAK_SEED`` and ``SOAK_SHARE`` change how
long, which faults, and how hard; what it saw stands in ``.citytally/bench/soak.json`` afterwards.
"""

import asyncio
import os
import time
from random import Random
from typing import Any

import pytest

from services.common.settings import Settings
from services.operations.benchmarking import report
from services.operations.benchmarking.running import measure, register_devices
from services.operations.benchmarking.scenarios import scenario
from services.operations.benchmarking.suite import TimeBase, describe, measured_city
from services.operations.local.scratch import Scratch
from tests.support.soak import AWAY_S, BETWEEN_S, Soak, faults, inflict, soaked, until_ready

SECONDS = float(os.environ.get("SOAK_SECONDS", "900"))
SEED = os.environ.get("SOAK_SEED", "citytally")
SHARE = float(os.environ.get("SOAK_SHARE", "0.7"))
DEVICES = 10_000
MEASURED_MESSAGES = 200_000
INGESTS = 2

SERVICES = ("gateway-0", "ingest-0", "ingest-1")
LARGEST_BYTES = 300_000_000
GROWTH, SLACK_BYTES = 1.25, 16_000_000
"""How much more than in the first half a process may take in the second."""
CAUGHT_UP_S, RECOVERY_S = 3.0, 120.0
"""Caught up is what the load sends in 3 s; after a fault it may take 2 minutes to get there."""


@pytest.mark.timeout(SECONDS + 900)
def test_faults_for_long_leave_memory_flat_lag_bounded_and_the_ledger_balanced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with capsys.disabled(), measured_city(Settings(), INGESTS) as city:
        found = asyncio.run(_soak(city))
    report.write(Settings().state_directory, found, report.SOAK_FILE)


async def _soak(city: Scratch) -> dict[str, Any]:
    conditions = await describe(city)
    await register_devices(city.settings, DEVICES)
    bases = TimeBase()
    measured = scenario("single", MEASURED_MESSAGES, DEVICES)
    run = await measure(city, measured, bases.next(measured), lambda _n: None)
    per_s = run.per_s * SHARE
    endless = scenario("single", int(2 * per_s * (SECONDS + RECOVERY_S)), DEVICES)
    said(f"{run.per_s:,.0f} messages/s measured, soaking at {per_s:,.0f} for {SECONDS:.0f} s")
    async with soaked(city, endless.stream(bases.next(endless)), per_s) as soak:
        checks = await _faults_until_over(soak, per_s)
        await soak.finish(RECOVERY_S)
    balance = await soak.balance()
    found = summary(soak, per_s, checks) | {"conditions": conditions}
    said(f"{soak.client.acknowledged} acknowledged, {balance['readings']}")
    assert balance["readings"]["written"] == run.rows + soak.client.acknowledged
    assert balance["readings"]["quarantined"] == 0
    assert balance["gaps"] == []
    assert_memory_is_flat(soak)
    return found


async def _faults_until_over(soak: Soak, per_s: float) -> list[dict[str, Any]]:
    """Inflict one fault after the other; after each the city catches up and its ledger holds."""
    chance, checks = Random(SEED), []  # noqa: S311 # moments, no secrets
    over = time.monotonic() + SECONDS
    for what, name in faults(chance):
        await asyncio.sleep(min(chance.uniform(*BETWEEN_S), max(0.0, over - time.monotonic())))
        if time.monotonic() >= over:
            break
        await inflict(soak.city.processes[name], what, chance.uniform(*AWAY_S))
        await until_ready(soak.city, RECOVERY_S)
        taken = await soak.until_behind_at_most(per_s * CAUGHT_UP_S, RECOVERY_S)
        await soak.balance()
        checks.append({"fault": f"{what} {name}", "caught_up_s": round(taken, 1)})
        said(f"{what} {name}: caught up {taken:.1f} s after it was ready; the ledger balances")
    return checks


def summary(soak: Soak, per_s: float, checks: list[dict[str, Any]]) -> dict[str, Any]:
    watched = soak.watched
    memory = {name: peaks(soak, name) for name in watched.memory}
    return {
        "seconds": SECONDS, "seed": SEED, "per_s": per_s, "messages": soak.client.acknowledged,
        "checks": checks, "highest_lag": watched.highest_lag,
        "highest_lag_s": watched.highest_lag / per_s, "peak_bytes": memory,
    }  # fmt: skip


def peaks(soak: Soak, name: str) -> tuple[int, int]:
    """The highest memory of the first and of the second half."""
    end = soak.watched.memory[name][-1][0] + 1
    return soak.watched.peak(name, 0, end / 2), soak.watched.peak(name, end / 2, end)


def assert_memory_is_flat(soak: Soak) -> None:
    for name in SERVICES:
        first, second = peaks(soak, name)
        said(f"{name}: {first / 1e6:.0f} MB at most in the first half, {second / 1e6:.0f} after")
        assert second < first * GROWTH + SLACK_BYTES, name
        assert max(first, second) < LARGEST_BYTES, name


def said(text: str) -> None:
    print(text, flush=True)  # noqa: T201 # a soak is watched
