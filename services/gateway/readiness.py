"""Whether the gateway is ready: each side says what it waits for."""

import structlog

from services.common.health import Health

log = structlog.get_logger(__name__)


class Readiness:
    """Joins what several sides say into one ``Health``: ready when none waits for anything."""

    def __init__(self, health: Health, sides: tuple[str, ...]) -> None:
        self._health = health
        self._waits: dict[str, str | None] = dict.fromkeys(sides, "starting")
        self._tell()

    def say(self, side: str, reason: str | None) -> None:
        """Let a side say what it waits for (None: nothing). Changes are logged."""
        before = self._waits[side]
        if before == reason:
            return
        self._waits[side] = reason
        if reason is None:
            log.info("works", side=side)
        else:
            log.warning("waits", side=side, reason=reason)
        self._tell()

    def _tell(self) -> None:
        reasons = [f"{side}: {reason}" for side, reason in self._waits.items() if reason]
        if reasons:
            self._health.not_ready("; ".join(reasons))
        else:
            self._health.ready()
