"""Where a simulation is: kept in a file, so that a restart neither repeats nor leaves out."""

import fcntl
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from services.simulator.faults import Injected
from services.simulator.history import Gap
from services.simulator.live import Held


@dataclass(slots=True)
class State:
    """A simulation between two messages; times are epoch milliseconds.

    What was due before ``live_until_ms`` has been acknowledged, save for ``gaps`` (to be sent as
    history) and ``held`` (late on purpose). ``counts`` is the sum over all runs.
    """

    history_from_ms: int
    live_until_ms: int
    gaps: list[Gap] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class AlreadyRunningError(Exception):
    """Another process simulates the city of this seed; the message says what to do."""


class UnreadableStateError(Exception):
    """The state file is not as it was written; the message names it."""


class StateFile:
    """The state of one seed's city, replaced at once, so that a kill leaves the former one."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.path = directory / f"city-{seed}.json"
        self._seed = seed

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others off this city. Raises AlreadyRunningError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunningError(
                    f"the city of seed {self._seed} is being simulated already: choose another seed"
                ) from None
            yield

    def load(self) -> State | None:
        """Return the state, None at the first start. Raises UnreadableStateError."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))["state"]
            return State(
                history_from_ms=kept["history_from_ms"],
                live_until_ms=kept["live_until_ms"],
                gaps=[Gap(**gap) for gap in kept["gaps"]],
                held=[(due, index, time, fault) for due, index, time, fault in kept["held"]],
                counts=Counter(kept["counts"]),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableStateError(
                f"{self.path} is no simulator state ({error}): remove it to begin anew"
            ) from error

    def save(self, state: State) -> None:
        """Replace the file; beside the state it says what the ledger must show."""
        kept = {
            "history_from_ms": state.history_from_ms,
            "live_until_ms": state.live_until_ms,
            "gaps": [asdict(gap) for gap in state.gaps],
            "held": state.held,
            "counts": dict(state.counts),
        }
        shape = {"state": kept, **Injected(state.counts).as_json()}
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(shape, indent=1), encoding="utf-8")
        fresh.replace(self.path)
