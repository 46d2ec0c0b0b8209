"""What a convention is: one file that says which messages are its own and what they mean."""

from collections.abc import Mapping
from typing import Any, Protocol

from schemas.messages import Message, Result

Facts = Mapping[str, Any]
"""What a convention asked to remember of earlier messages, by a key of its own."""

NO_FACTS: Facts = {}


class Convention(Protocol):
    """A payload convention; a module of ``conventions/`` is one.

    ``TOPICS`` are its MQTT subscriptions, ``PERSONAL`` the fields that are overwritten before a
    payload is kept, ``TIME_MAY_BE_MISSING`` whether a message without a time of its own takes the
    time of its receipt.
    """

    @property
    def NAME(self) -> str: ...  # noqa: D102, N802 # constants of a module
    @property
    def TOPICS(self) -> tuple[str, ...]: ...  # noqa: D102, N802 # a constant
    @property
    def PERSONAL(self) -> frozenset[str]: ...  # noqa: D102, N802 # a constant
    @property
    def TIME_MAY_BE_MISSING(self) -> bool: ...  # noqa: D102, N802 # a constant

    def claims(self, topic: str) -> bool:
        """Whether messages on this topic may be of this convention."""

    def decode(self, message: Message, facts: Facts) -> Result | None:
        """Read a message on a claimed topic; None where its shape is another convention's."""
