"""The ledger as a balance of counters: what came in on one side, what became of it on the other."""

from dataclasses import dataclass

from services.storage.figures import Figures


@dataclass(frozen=True, slots=True)
class Sum:
    """One line of the balance: a whole, and the parts that must add up to it."""

    title: str
    whole: str
    n: int
    parts: dict[str, int]

    @property
    def holds(self) -> bool:
        """Whether the parts add up."""
        return self.n == sum(self.parts.values())


def sums(figures: Figures) -> list[Sum]:
    """Return the balance of messages, of readings and of quarantine, by the counters.

    Only sums over all sources: that each source balances, and that what is counted is there,
    ``citytally ledger`` finds out by counting again.
    """
    messages, readings, quarantine = figures.messages, figures.readings, figures.quarantine
    return [
        Sum(
            "messages",
            "received",
            messages["received"],
            {name: messages[name] for name in ("decoded", "undecodable", "liveness", "lost")},
        ),
        Sum(
            "readings",
            "decoded",
            readings.get("decoded", 0),
            {
                name: readings.get(name, 0)
                for name in ("written", "merged", "duplicate", "corrected", "quarantined")
            },
        ),
        Sum(
            "quarantine",
            "refused",
            figures.refused,
            {
                name: quarantine.get(name, 0)
                for name in ("open", "replayed", "discarded", "expired")
            },
        ),
    ]
