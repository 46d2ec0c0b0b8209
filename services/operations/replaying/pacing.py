"""When a recorded reading is due: so many a second, or so many times faster than it happened."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast to publish; both limits may stand, the slower one then decides.

    ``rate`` is messages a second, 0 as fast as it goes. ``speed`` is how many recorded seconds pass
    in a second, 0 without regard to the stamps.
    """

    rate: float = 0.0
    speed: float = 0.0

    def due_s(self, position: int, recorded_s: float) -> float:
        """Return the seconds after the start at which a reading is due.

        ``position`` counts readings from 0, ``recorded_s`` is its stamp after the first one.
        """
        by_rate = position / self.rate if self.rate else 0.0
        by_stamp = recorded_s / self.speed if self.speed else 0.0
        return max(by_rate, by_stamp)

    def lasts_s(self, count: int, first_at: datetime, last_at: datetime) -> float:
        """Return how long a recording takes at least."""
        return self.due_s(count, (last_at - first_at).total_seconds())
