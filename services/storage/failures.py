"""The three names of a database error (DESIGN 3.4): rejected, unavailable, or a crash."""

import asyncio

import asyncpg

REJECTED = ("21", "22", "23", "54", "53400")
"""What the data is to blame for: bisect until the row stands alone, then quarantine it."""

UNAVAILABLE = ("08", "53", "57P", "57014", "58", "25006", "25P03", "55P03", "40001", "40P01")
"""What the database's condition is to blame for: keep the batch, back off, say not ready."""


class UnavailableError(Exception):
    """The database cannot take a batch now; nothing is wrong with the batch."""


def is_rejection(error: BaseException) -> bool:
    """Whether PostgreSQL, or asyncpg on its behalf, refuses the data itself."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith(REJECTED)
    return isinstance(error, (asyncpg.DataError, UnicodeEncodeError, OverflowError))


def is_unavailable(error: BaseException) -> bool:
    """Whether the database is away or busy. A killed server leaves a closed connection behind."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state != "53400" and state.startswith(UNAVAILABLE)
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, asyncpg.DataError)
    return isinstance(
        error, (OSError, TimeoutError, asyncio.TimeoutError, UnavailableError, ConnectionError)
    )
