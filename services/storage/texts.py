"""Which texts PostgreSQL takes: neither NUL nor half of a surrogate pair, and keys not too long."""

from math import isfinite

TEXT_LIMIT = 2000
"""Characters of a text that came from outside, at most, before it is cut; the payload is whole."""
KEY_LIMIT = 256
"""Characters of a text that an index holds, at most: a page takes 2704 bytes of a key."""


def storable(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return a text that PostgreSQL takes: no NUL, no lone surrogate, of bounded length."""
    clean = text.replace("\0", "\u2400").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def is_storable(value: object) -> bool:
    """Whether PostgreSQL takes a value of JSON as it is."""
    if isinstance(value, str):
        return storable(value, len(value)) == value
    if isinstance(value, dict):
        return all(is_storable(name) and is_storable(member) for name, member in value.items())
    if isinstance(value, list):
        return all(map(is_storable, value))
    return not isinstance(value, float) or isfinite(value)
