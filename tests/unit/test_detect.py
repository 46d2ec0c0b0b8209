"""Detection by topic, then by shape; and a broken decoder harms one message."""

from dataclasses import dataclass, field

import pytest

from schemas.messages import Decoded, Liveness, Message, Result, Undecodable
from schemas.reasons import Reason
from services.decoding.convention import Facts
from services.decoding.conventions import native
from services.decoding.detect import CONVENTIONS, decode
from services.decoding.shown import shown


@dataclass(frozen=True)
class Fake:
    """A convention that claims all topics and answers, or fails, as it was told."""

    answer: Result | Exception | None = None
    NAME: str = "fake"
    TOPICS: tuple[str, ...] = ("#",)
    PERSONAL: frozenset[str] = field(default_factory=frozenset)
    TIME_MAY_BE_MISSING: bool = True

    def claims(self, _topic: str) -> bool:
        return True

    def decode(self, _message: Message, _facts: Facts) -> Result | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


MESSAGE = Message("citytally/v1/traffic/a", b'{"time": 0}')


def reason(result: Result) -> Reason:
    assert isinstance(result, Undecodable)
    return result.refusal.reason


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError("too deep"), MemoryError(), ZeroDivisionError("0")]
)
def test_a_broken_decoder_harms_one_message(error: Exception) -> None:
    result = decode(MESSAGE, conventions=[Fake(error)])
    assert reason(result) is Reason.DECODER_FAILED
    assert isinstance(result, Undecodable)
    assert type(error).__name__ in result.refusal.detail


def test_a_claimed_topic_whose_shape_fits_nobody_is_an_unknown_convention() -> None:
    assert reason(decode(MESSAGE, conventions=[Fake(), Fake()])) is Reason.UNKNOWN_CONVENTION


def test_the_first_convention_whose_shape_fits_decodes() -> None:
    alive = Liveness("fake", "a", {"battery_pct": 71.0})
    assert decode(MESSAGE, conventions=[Fake(), Fake(alive), native]) is alive
    assert isinstance(decode(MESSAGE, conventions=[Fake(), native]), Decoded)


def test_an_unclaimed_topic_is_named() -> None:
    result = decode(Message("home/kitchen", b""))
    assert isinstance(result, Undecodable)
    assert "home/kitchen" in result.refusal.detail
    assert (result.convention, reason(result)) == (None, Reason.UNKNOWN_TOPIC)


def test_what_the_gateway_withheld_is_too_large_whatever_its_topic() -> None:
    for message in (Message("x", b"", oversize="9 MB"), Message("x", b"", refused="too large")):
        assert reason(decode(message)) is Reason.TOO_LARGE


def test_conventions_have_names_of_their_own_and_topics() -> None:
    assert len({convention.NAME for convention in CONVENTIONS}) == len(CONVENTIONS)
    assert all(convention.TOPICS for convention in CONVENTIONS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        (float("nan"), "NaN"),
        (-float("inf"), "-Infinity"),
        ("x", 'the text "x"'),
        ([1, 2], "an array of 2 elements"),
        ({}, "an object of 0 members"),
        (10**4000, "an integer of about 4001 digits"),
    ],
)
def test_a_refused_value_is_shown_short(value: object, text: str) -> None:
    assert shown(value) == text
    assert len(shown("x" * 1000)) < 80
