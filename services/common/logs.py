"""Logs: one line an event to stderr, JSON where nobody watches, coloured at a terminal.

``configure`` is called once in ``main``; modules then take ``structlog.get_logger(__name__)``.
What libraries log through ``logging`` comes out in the same form.
"""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_WORDS = ("password", "secret", "token", "credential", "authorization")
_HIDDEN = "***"


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


def _naming(service: str) -> Processor:
    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    return name


def _send_library_logs_along(shared: list[Processor], level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
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
