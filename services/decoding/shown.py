"""How a refused value is shown to a person: short, whatever it is."""

_LONGEST = 60
_SAFE_BITS = 1000


def shown(value: object) -> str:
    """Describe a JSON value in at most some eighty characters, in bounded time."""
    if isinstance(value, str):
        return f'the text "{value[:_LONGEST]}…"' if len(value) > _LONGEST else f'the text "{value}"'
    if isinstance(value, dict):
        return f"an object of {len(value)} members"
    if isinstance(value, list):
        return f"an array of {len(value)} elements"
    if isinstance(value, int) and value.bit_length() > _SAFE_BITS:
        return f"an integer of about {int(value.bit_length() * 0.30103) + 1} digits"
    return _AS_JSON.get(repr(value), repr(value))


_AS_JSON = {
    "None": "null",
    "True": "true",
    "False": "false",
    "nan": "NaN",
    "inf": "Infinity",
    "-inf": "-Infinity",
}
