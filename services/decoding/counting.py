"""A second counter of each convention, for ``ledger --audit``: shares no code with its decoder."""

import json
from collections.abc import Callable

_DEEPEST = 201


def count_readings(convention: str, payload: bytes) -> int | None:
    """Return how many readings a payload must have given, None where it must be undecodable.

    Raises:
        KeyError: no second counter for this convention.
    """
    return _COUNTERS[convention](payload)


def _count_native(payload: bytes) -> int | None:
    """Count the objects that ``json.loads`` finds at the top, and what is no object beside them."""
    try:
        content = json.loads(payload.decode("utf-8"), parse_int=len)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict | list) or _is_unreadable(content):
        return None
    return len(content) if isinstance(content, list) else 1


def _is_unreadable(content: object) -> bool:
    """Whether something stands deeper than level 201 or holds half of a surrogate pair."""
    level: list[object] = [content]
    for _ in range(_DEEPEST + 1):
        if not level:
            return False
        members = [m for c in level if isinstance(c, dict) for m in [*c.keys(), *c.values()]]
        elements = [e for c in level if isinstance(c, list) for e in c]
        level = members + elements
        if any(isinstance(text, str) and not _is_text(text) for text in level):
            return True
    return True


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


_COUNTERS: dict[str, Callable[[bytes], int | None]] = {"native": _count_native}
