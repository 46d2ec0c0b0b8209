"""Named queries: every statement stands in ``queries/<subject>.sql`` under ``-- name: …``."""

import re
from functools import cache
from importlib.resources import files

NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def subject(name: str) -> dict[str, str]:
    """Return the statements of one file by name."""
    text = files("services.storage").joinpath("queries", f"{name}.sql").read_text(encoding="utf-8")
    parts = NAME.split(text)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def query(name: str, **identifiers: str) -> str:
    """Return the statement ``subject.name``.

    ``identifiers`` fill ``{placeholders}`` with table and column names, which PostgreSQL takes no
    parameters for. They come from ``schemas.channels``, never from input.
    """
    where, what = name.split(".")
    statement = subject(where)[what]
    return statement.format(**identifiers) if identifiers else statement
