"""The three names of a database error (DESIGN 3.4): rejected, unavailable, or a crash."""

import asyncpg

REJECTED = ("21", "22", "23", "54", "53400")
"""What the data is to blame for: bisect until the row stands alone, then quarantine it."""

UNAVAILABLE = ("08", "53", "57P", "57014", "58", "25006", "25P03", "55P03", "40001", "40P01")
"""What the database's condition is to blame for: keep the batch, back off, say not ready."""


class UnavailableError(Exception):
    """The database cannot take a batch now; nothing is wrong with the batch."""


AWAY = (OSError, TimeoutError, asyncpg.InternalClientError, UnavailableError)
"""What a connection that is of no more use raises, besides the SQLSTATEs above."""


class UnstorableError(ValueError):
    """Some of the data can't be stored; which of it, halving finds."""


REFUSALS = (asyncpg.PostgresError, UnicodeEncodeError, OverflowError, UnstorableError)
"""What may be a rejection; ``is_rejection`` tells."""


def is_rejection(error: BaseException) -> bool:
    """Whether PostgreSQL, or asyncpg on its behalf, refuses the data itself."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith(REJECTED)
    return isinstance(error, REFUSALS)


def is_unavailable(error: BaseException) -> bool:
    """Whether the database is away or busy.

    A killed server leaves a closed connection behind; one that has just said goodbye, for a moment,
    a connection whose state asyncpg does not know (InternalClientError).
    """
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state != "53400" and state.startswith(UNAVAILABLE)
    return isinstance(error, (asyncpg.InterfaceError, *AWAY))
