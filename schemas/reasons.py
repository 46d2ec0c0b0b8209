"""Why a message or a reading was refused: column, metric label and name of an example alike."""

from enum import StrEnum


class Reason(StrEnum):
    """A closed set; each member has an example under ``schemas/examples/invalid``."""

    # of a message
    MALFORMED = "malformed"
    UNKNOWN_TOPIC = "unknown_topic"
    UNKNOWN_CONVENTION = "unknown_convention"
    TOO_LARGE = "too_large"
    DECODER_FAILED = "decoder_failed"
    # of a reading
    UNKNOWN_DEVICE = "unknown_device"
    WRONG_DEVICE = "wrong_device"
    SCHEMA = "schema"
    FUTURE_TIME = "future_time"
    TOO_OLD = "too_old"
    BEYOND_RETENTION = "beyond_retention"
    NO_TIME = "no_time"
    UNKNOWN_ALIAS = "unknown_alias"
    CONFLICT = "conflict"
    REJECTED_BY_DATABASE = "rejected_by_database"


OF_A_MESSAGE = frozenset(
    {
        Reason.MALFORMED,
        Reason.UNKNOWN_TOPIC,
        Reason.UNKNOWN_CONVENTION,
        Reason.TOO_LARGE,
        Reason.DECODER_FAILED,
    }
)
OF_A_READING = frozenset(Reason) - OF_A_MESSAGE
