"""Closed sets: every promise of the README is a test that exists, and so is every reason."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from schemas.reasons import Reason
from tests.support.examples import examples

PROJECT = Path(__file__).resolve().parents[2]
PROMISES = [f"P{n}" for n in range(1, 9)]
ROW = re.compile(r"^\| (P\d+) \| .+ \| `?(tests/[\w/]+\.py)::(\w+)`? \|$", re.MULTILINE)

# Reasons that only a database or a second decoder gives have no example, but a test.
PROVEN_BY = {
    Reason.CONFLICT: (
        "tests/end_to_end/test_conflicts.py",
        "test_a_conflict_shows_both_values_and_changes_nothing",
    ),
    Reason.REJECTED_BY_DATABASE: (
        "tests/end_to_end/test_mending.py",
        "test_rows_that_the_database_refuses_stand_alone",
    ),
    Reason.DECODER_FAILED: ("tests/unit/test_detect.py", "test_a_broken_decoder_harms_one_message"),
    Reason.UNKNOWN_CONVENTION: (
        "tests/unit/test_detect.py",
        "test_a_claimed_topic_whose_shape_fits_nobody_is_an_unknown_convention",
    ),
}
# They come with retention and with conventions that have aliases.
NOT_GIVEN_YET = {Reason.BEYOND_RETENTION, Reason.UNKNOWN_ALIAS}


def rows() -> list[tuple[str, str, str]]:
    """Promise, file and test of each row of the README's table."""
    return ROW.findall((PROJECT / "README.md").read_text(encoding="utf-8"))


@cache
def functions_of(path: str) -> frozenset[str]:
    """The names of all functions in a file of tests."""
    tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def test_the_readme_lists_every_promise_once() -> None:
    assert [promise for promise, _, _ in rows()] == PROMISES


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_is_a_test_that_exists(promise: str) -> None:
    ((path, name),) = [(path, name) for row, path, name in rows() if row == promise]
    assert name.startswith("test_")
    assert name in functions_of(path), f"{promise}: {path} has no test {name}"


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_has_an_example_or_a_test(reason: Reason) -> None:
    shown = {example.name.split("--")[0] for example in examples("invalid")}
    if reason in PROVEN_BY:
        path, name = PROVEN_BY[reason]
        assert name in functions_of(path), f"{path} has no test {name}"
    elif reason not in NOT_GIVEN_YET:
        assert reason.value in shown


@pytest.mark.parametrize("reason", sorted(NOT_GIVEN_YET))
def test_a_reason_that_is_not_given_yet_is_named_nowhere(reason: Reason) -> None:
    sources = (PROJECT / "services").rglob("*.py")
    named = [path for path in sources if f"Reason.{reason.name}" in path.read_text("utf-8")]
    assert named == [], f"{reason} is given now: it needs an example or a test"
