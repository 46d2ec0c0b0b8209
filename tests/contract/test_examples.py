"""Every rule of the native convention has an example, and every example comes out as it says."""

from typing import Any

import pytest

from schemas.reasons import Reason
from services.operations.checking import exit_code
from tests.support.examples import FIELDS, HEADERS, Example, examples

VALID, INVALID = examples("valid"), examples("invalid")

# Only the write transaction can find these; tests/integration proves them.
DATABASE_REASONS = {Reason.CONFLICT, Reason.REJECTED_BY_DATABASE, Reason.BEYOND_RETENTION}
# These take a broken or a second decoder; tests/unit/test_detect.py has them.
DECODER_REASONS = {Reason.DECODER_FAILED, Reason.UNKNOWN_CONVENTION}
# No convention with aliases yet.
LATER_REASONS = {Reason.UNKNOWN_ALIAS}


def named(example: Example) -> str:
    return example.name


def assert_says(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    readings = expected.get("readings")
    stated = {name: actual[name] for name in expected if name != "readings"}
    assert stated == {name: value for name, value in expected.items() if name != "readings"}
    if readings is not None:
        assert len(actual["readings"]) == len(readings)
        for reading, said in zip(actual["readings"], readings, strict=True):
            assert {name: reading[name] for name in said} == said


@pytest.mark.parametrize("example", VALID, ids=named)
def test_a_valid_example_is_read_as_it_says(example: Example) -> None:
    result = example.checked()
    assert_says(result, example.expected)
    assert exit_code(result) == 0


@pytest.mark.parametrize("example", INVALID, ids=named)
def test_an_invalid_example_is_refused_for_the_reason_in_its_name(example: Example) -> None:
    result = example.checked()
    assert_says(result, example.expected)
    reasons = {result["reason"], *(reading["reason"] for reading in result["readings"])} - {None}
    assert reasons == {example.name.split("--")[0]}
    assert exit_code(result) == 1


@pytest.mark.parametrize("example", INVALID, ids=named)
def test_a_refusal_is_a_sentence_for_a_person(example: Example) -> None:
    result = example.checked()
    for refused in (result, *result["readings"]):
        if refused["reason"]:
            assert 10 < len(refused["detail"]) < 200


@pytest.mark.parametrize("example", VALID + INVALID, ids=named)
def test_an_example_has_a_rule_and_no_unknown_field(example: Example) -> None:
    assert FIELDS <= example.fields.keys() <= FIELDS | HEADERS
    assert example.fields["rule"].endswith(".")


def test_every_reason_has_an_example_or_a_test_that_only_a_server_can_run() -> None:
    shown = {Reason(example.name.split("--")[0]) for example in INVALID}
    assert shown | DATABASE_REASONS | DECODER_REASONS | LATER_REASONS == set(Reason)
    assert not shown & (DATABASE_REASONS | DECODER_REASONS | LATER_REASONS)


def test_every_rule_is_shown_once() -> None:
    rules = [example.fields["rule"] for example in VALID + INVALID]
    assert len(set(rules)) == len(rules)
