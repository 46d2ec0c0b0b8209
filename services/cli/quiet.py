"""What libraries and services log, kept from the words of a command unless somebody asks for it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from services.common import logs


@contextmanager
def logs_shown(shown: bool) -> Iterator[None]:
    """Let a command run with logs on standard error, or with none; leave all as it was."""
    former, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # Hidden, errors too: what keeps a command from its work is raised, and told in a sentence.
    logs.configure("citytally", level=logging.INFO if shown else logging.CRITICAL)
    try:
        yield
    finally:
        structlog.configure(**former)
        root.handlers[:] = handlers
        root.setLevel(level)
