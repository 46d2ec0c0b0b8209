"""Logs: one line an event to stderr, JSON where nobody watches, coloured at a terminal.

``configure`` is called once in ``main``; modules then take ``structlog.get_logger(__name__)``.
What libraries log through ``logging`` comes out in the same form.
"""

import logging
import sys
import time
from collections.abc import Callable

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_WORDS = ("password", "secret", "token", "credential", "authorization")
_HIDDEN = "***"
_REPEATED_AFTER_S = 10.0
_LINES_REMEMBERED = 1000


def configure(service: str, *, level: int = logging.INFO) -> None:
    """Send every log line of this process to stderr, each one naming the service.

    JSON lines unless stderr is a terminal. Values whose key speaks of a secret are hidden.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _naming(service),
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _send_library_logs_along(shared, level)


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the value of every key that speaks of a secret."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = _HIDDEN
    return event


class Seldom(logging.Filter):
    """Lets each line of a library through once in a while, and says how often it came meanwhile.

    aiokafka tells forty times a second that a broker is away. Our own lines all pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record passes."""
        if record.name.startswith("services."):
            return True
        line, now = (record.name, str(record.msg)), self._clock()
        passed_at, held_back = self._passed.get(line, (-_REPEATED_AFTER_S, 0))
        if now - passed_at < _REPEATED_AFTER_S:
            self._passed[line] = (passed_at, held_back + 1)
            return False
        if len(self._passed) >= _LINES_REMEMBERED:
            self._passed.clear()
        self._passed[line] = (now, 0)
        if held_back:
            record.msg = f"{record.msg} (and {held_back} times before)"
        return True


def _naming(service: str) -> Processor:
    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    return name


def _send_library_logs_along(shared: list[Processor], level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Seldom())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_last_steps())
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _last_steps() -> list[Processor]:
    without_internals = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if sys.stderr.isatty():
        return [without_internals, structlog.dev.ConsoleRenderer()]
    return [
        without_internals,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(default=str),
    ]
