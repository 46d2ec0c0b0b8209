"""Where in a payload something is wrong, whatever bytes it consists of."""

from hypothesis import given
from hypothesis import strategies as st

from services.operations.excerpts import at_byte, at_path, beginning


def test_the_caret_stands_under_the_byte() -> None:
    excerpt = at_byte(b'{"a": 1,, "b": 2}', 8)
    assert excerpt.line[excerpt.caret] == ","
    assert excerpt.line.startswith('{"a"')


def test_a_long_payload_is_cut_on_both_sides() -> None:
    excerpt = at_byte(b"a" * 100 + b"!" + b"a" * 100, 100)
    assert excerpt.line.startswith("…")
    assert excerpt.line.endswith("…")
    assert excerpt.line[excerpt.caret] == "!"


@given(st.binary(max_size=200), st.integers(0, 250))
def test_any_bytes_and_any_place_give_one_printable_line(payload: bytes, position: int) -> None:
    assert at_byte(payload, min(position, len(payload))).line.isprintable()
    assert beginning(payload, 50).isprintable()


def test_a_path_leads_to_its_value() -> None:
    payload = b'[{"time": 1}, {"pm2_5_ugm3": "x", "deep": {"er": [true]}}]'
    assert at_path(payload, "[1].pm2_5_ugm3") == '"x"'
    assert at_path(payload, "[1].deep.er[0]") == "true"
    assert at_path(b'{"time": null}', "time") == "null"


@given(st.binary(max_size=100), st.text(max_size=30))
def test_a_path_that_leads_nowhere_is_no_error(payload: bytes, path: str) -> None:
    at_path(payload, path)
