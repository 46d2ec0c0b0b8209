"""Hold two revisions against each other on one machine, run by run in turn.

Machines are noisy, and noise that lasts longer than a run hits both of a pair: what is compared is
the ratio within pairs, and its spread says how far it can be trusted. Each revision brings its own
bench and its own services, from a checkout of its own, with the packages of this environment.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.operations.benchmarking.counting import BenchError

PROJECT = Path(__file__).resolve().parents[3]
HERE = "the code here"
PAIRS_TO_TELL = 5
"""By chance alone five pairs agree once in sixteen times, two every other time."""
_CITY_S, _PER_S = 25.0, 20_000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What each revision runs, and how often."""

    scenario: str
    devices: int
    messages: int
    pairs: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: messages a second, and microseconds of CPU a message by process."""

    per_s: float
    cpu_us: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """One run of each."""

    base: Outcome
    here: Outcome

    @property
    def ratio(self) -> float:
        """How many times as fast as the base."""
        return self.here.per_s / self.base.per_s


@dataclass(frozen=True, slots=True)
class Comparison:
    """All pairs of a comparison."""

    base: str
    revision: str
    scenario: str
    devices: int
    pairs: list[Pair]

    @property
    def ratios(self) -> list[float]:
        """The ratio of each pair, in ascending order."""
        return sorted(pair.ratio for pair in self.pairs)

    def cpu_us(self) -> dict[str, tuple[float, float]]:
        """Return the medians of each process, base first; ``all`` is their sum run by run."""
        names = [*self.pairs[0].base.cpu_us, "all"]
        return {
            name: (
                statistics.median(_cpu_us(pair.base, name) for pair in self.pairs),
                statistics.median(_cpu_us(pair.here, name) for pair in self.pairs),
            )
            for name in names
        }

    def sentence(self) -> str:
        """Say the median ratio with its spread, and whether the spread leaves a difference."""
        lowest, highest = self.ratios[0], self.ratios[-1]
        middle = statistics.median(self.ratios)
        if len(self.pairs) < PAIRS_TO_TELL:
            verdict = f"it takes {PAIRS_TO_TELL} pairs to tell a difference from noise"
        elif lowest > 1 or highest < 1:
            verdict = f"{'faster' if lowest > 1 else 'slower'} in every pair"
        else:
            verdict = "no difference that the noise leaves visible"
        return f"ratio {middle:.3f}, from {lowest:.3f} to {highest:.3f}: {verdict}"


def _cpu_us(outcome: Outcome, name: str) -> float:
    return sum(outcome.cpu_us.values()) if name == "all" else outcome.cpu_us.get(name, 0.0)


def estimate_s(wanted: Wanted) -> float:
    """Return how many seconds a slow machine takes."""
    return 2 * wanted.pairs * (_CITY_S + wanted.messages / _PER_S)


def compare(revisions: str, wanted: Wanted, say: Say) -> Comparison:
    """Compare ``BASE`` with the code here, or ``BASE..REV`` with each other.

    Raises ``BenchError`` where there is no such revision, or one has no figure.
    """
    base, _, revision = revisions.partition("..")
    with checkout(base) as before, checkout(revision) if revision else _here() as after:
        pairs = [_pair(before, after, wanted, n, say) for n in range(wanted.pairs)]
    return Comparison(base, revision or HERE, wanted.scenario, wanted.devices, pairs)


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A worktree of a revision in a temporary folder, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="citytally-compare-") as folder:
        place = Path(folder) / "worktree"
        _git("worktree", "add", "--detach", str(place), revision)
        try:
            yield place
        finally:
            _git("worktree", "remove", "--force", str(place))


@contextmanager
def _here() -> Iterator[Path]:
    yield PROJECT


def _git(*arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 -- our own words
        ["git", *arguments],  # noqa: S607 -- whichever git is there
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchError(done.stderr.strip())


def _pair(before: Path, after: Path, wanted: Wanted, n: int, say: Say) -> Pair:
    """Run both, the base first in every other pair: what drifts favours neither."""
    order = [before, after] if n % 2 == 0 else [after, before]
    found = {place: run_once(place, wanted) for place in order}
    pair = Pair(found[before], found[after])
    rates = f"{pair.base.per_s:,.0f} and {pair.here.per_s:,.0f} messages/s"
    say(f"pair {n + 1} of {wanted.pairs}: {rates}")
    return pair


def run_once(place: Path, wanted: Wanted) -> Outcome:
    """Run the bench of the code in ``place`` once."""
    with tempfile.TemporaryDirectory(prefix="citytally-compare-") as state:
        environment = os.environ | {
            "PYTHONPATH": str(place), "CITYTALLY_STATE_DIRECTORY": state,
        }  # fmt: skip
        rate_only = ["--no-latency"] if "latency" in _bench(place, environment, "--help") else []
        answer = _bench(place, environment, *_options(wanted), *rate_only)
    (entry,) = json.loads(answer)["scenarios"]
    (run,) = entry["runs"]
    cpu_us = {name: cost["cpu_us_per_message"] for name, cost in run["costs"].items()}
    return Outcome(run["per_s"], cpu_us)


def _bench(place: Path, environment: Mapping[str, str], *options: str) -> str:
    command = [sys.executable, "-c", "from services.cli.main import app; app()", "bench", *options]
    done = subprocess.run(  # noqa: S603 -- our own command
        command, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"the bench of {place} ended: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _options(wanted: Wanted) -> list[str]:
    """Return only what the first bench knew already, so that old revisions understand it."""
    options = {
        "--scenario": wanted.scenario, "--devices": wanted.devices, "--messages": wanted.messages,
        "--runs": 1,
    }  # fmt: skip
    return [str(word) for option in options.items() for word in option] + ["--json"]
