"""What a scenario finds: promises held against what is there, and how many came to what."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Promise(StrEnum):
    """The promises of the platform that a drill can prove."""

    P1 = "acknowledged is not lost"
    P2 = "nothing is stored twice"
    P3 = "every message is accounted for"
    P4 = "a bad message harms only itself"
    P5 = "a database that is down is not bad data"
    P6 = "event time is kept"


class DrillError(Exception):
    """Something that should have come about has not; the message says what was waited for."""


class SkippedError(Exception):
    """A scenario can't be played on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise held against what is there; ``says`` gives the numbers."""

    promise: Promise
    holds: bool
    says: str

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"promise": self.promise.name, "holds": self.holds, "says": self.says}


@dataclass(slots=True)
class Counts:
    """How many messages of a scenario came to what.

    ``lost`` readings are gone where that is allowed; ``unmatched`` ones were answered by the broker
    with "no matching subscribers", so that their sender knows.
    """

    acknowledged: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    gaps: int = 0
    lost: int = 0
    unmatched: int = 0


@dataclass(slots=True)
class Result:
    """What a scenario came to."""

    name: str
    title: str
    promises: tuple[Promise, ...]
    findings: list[Finding] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    skipped: str | None = None
    seconds: float = 0.0
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None

    @property
    def holds(self) -> bool:
        """Whether every promise held; one that was skipped broke none."""
        return all(finding.holds for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "name": self.name,
            "title": self.title,
            "promises": [promise.name for promise in self.promises],
            "holds": self.holds,
            "skipped": self.skipped,
            "seconds": round(self.seconds, 1),
            **asdict(self.counts),
            "findings": [finding.as_json() for finding in self.findings],
            "ledger_before": self.before,
            "ledger_after": self.after,
        }
