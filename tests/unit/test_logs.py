"""Lines of libraries are let through seldom; our own always."""

import logging

from services.common.logs import Seldom


def record(name: str, message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, arguments, None)


def test_a_library_that_repeats_itself_is_heard_once_in_a_while() -> None:
    now = 0.0
    seldom = Seldom(clock=lambda: now)
    lines = [record("aiokafka", "Unable connect to node %s", n) for n in range(40)]
    assert [line for line in lines if seldom.filter(line)] == lines[:1]

    now = 11.0
    assert seldom.filter(lines[1])
    assert lines[1].getMessage() == "Unable connect to node 1 (and 39 times before)"
    assert not seldom.filter(lines[2])


def test_another_line_of_a_library_passes() -> None:
    seldom = Seldom()
    assert seldom.filter(record("aiokafka", "one"))
    assert seldom.filter(record("aiokafka", "another"))
    assert seldom.filter(record("asyncio", "one"))


def test_our_own_lines_all_pass() -> None:
    seldom = Seldom()
    assert all(seldom.filter(record("services.ingest.log", "gap")) for _ in range(3))
