"""What became of a message and of a reading: the words that the ledger counts by."""

from enum import StrEnum


class MessageOutcome(StrEnum):
    """What a Kafka record turned out to be; a message with zero readings is decoded."""

    DECODED = "decoded"
    UNDECODABLE = "undecodable"
    LIVENESS = "liveness"


class Outcome(StrEnum):
    """What became of a reading."""

    WRITTEN = "written"
    """A new row."""
    MERGED = "merged"
    """The row existed, this reading only filled what it lacked."""
    DUPLICATE = "duplicate"
    """The row, or an earlier version of it, says the same."""
    CORRECTED = "corrected"
    """A replay, a re-decode or an accepted conflict replaced values."""
    QUARANTINED = "quarantined"
    """Refused, kept with its reason."""
    WITHDRAWN = "withdrawn"
    """A re-decode no longer yields it; its row went to the revisions."""


class Flag:
    """QARTOD's quality flags, as stored in ``quality_flags``."""

    GOOD = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9
