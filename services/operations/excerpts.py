"""Where in a payload something is wrong, as a person can see it. Pure; takes any bytes."""

import json
import re
from dataclasses import dataclass
from typing import Any

AROUND = 30
"""Bytes shown before and after the place."""
_STEP = re.compile(r"\[(\d+)\]|\.?([^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A line of text, and under which of its characters the place is."""

    line: str
    caret: int


def at_byte(payload: bytes, position: int) -> Excerpt:
    """Return what stands around a byte, one character a byte, so that the caret is exact."""
    begin, end = max(0, position - AROUND), position + AROUND
    before, after = payload[begin:position], payload[position:end]
    head = "…" if begin else ""
    tail = "…" if end < len(payload) else ""
    return Excerpt(head + _visible(before) + _visible(after) + tail, len(head) + len(before))


def at_path(payload: bytes, path: str) -> str | None:
    """Return the value at a JSON path as JSON; None where it can't be followed."""
    try:
        found: Any = json.loads(payload)
        for index, name in _STEP.findall(path):
            found = found[int(index)] if index else found[name]
        return json.dumps(found, ensure_ascii=False)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def beginning(payload: bytes, characters: int) -> str:
    """Return the beginning of a payload as text of one line; what is no text shows as a dot."""
    cut = payload[: 4 * characters].decode("utf-8", "replace")
    text = "".join(character if character.isprintable() else "·" for character in cut)
    more = len(text) > characters or len(payload) > 4 * characters
    return text[:characters] + ("…" if more else "")


def _visible(part: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in part)  # noqa: PLR2004 # ASCII
