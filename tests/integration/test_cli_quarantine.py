"""Quarantine from the command line: look, mend, replay, accept, let go."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, command_line
from tests.support.databases import Database
from tests.support.intake import STATION, Intake, intake, message, reading

TORN = b'[{"time": "2024-01-22T07:00:00Z", "temperature_c": 20.5},, 1]'


@pytest.fixture
async def hands(database: Database) -> AsyncIterator[Intake]:
    async with intake(database) as hands:
        await hands.register("station-1")
        yield hands


@pytest.fixture
def citytally(database: Database, tmp_path: Path) -> Iterator[CommandLine]:
    with command_line(database, tmp_path) as cli:
        yield cli


async def test_list_says_what_and_why(hands: Intake, citytally: CommandLine) -> None:
    await hands.take((STATION, TORN), message(reading(temperature_c="warm")))

    listed = await citytally("quarantine", "list")
    schema = await citytally.json("quarantine", "list", "--reason", "schema")

    assert "malformed" in listed.stdout
    assert "warm" in listed.stdout
    assert [item["path"] for item in schema] == ["temperature_c"]
    assert await citytally.json("quarantine", "list", "--device", "nobody") == []


async def test_show_points_at_the_byte(hands: Intake, citytally: CommandLine) -> None:
    await hands.take((STATION, TORN))
    item = await hands.only_item()

    lines = (await citytally("quarantine", "show", item["item_id"])).stdout.splitlines()

    caret = next(n for n, line in enumerate(lines) if line.strip() == "^")
    assert lines[caret - 1][lines[caret].index("^")] == chr(TORN[item["byte_position"]])


async def test_show_names_the_value_at_the_path(hands: Intake, citytally: CommandLine) -> None:
    await hands.take(message([reading(temperature_c=20), reading(1, temperature_c="warm")]))
    item = await hands.only_item()

    shown = await citytally("quarantine", "show", item["item_id"])

    assert '[1].temperature_c is "warm"' in shown.stdout


async def test_show_gives_both_values_of_a_conflict(hands: Intake, citytally: CommandLine) -> None:
    await hands.take(message(reading(temperature_c=20.0)))
    await hands.take(message(reading(temperature_c=25.0)))
    item = await hands.only_item()

    shown = (await citytally("quarantine", "show", item["item_id"])).stdout

    assert "stored 20.0" in shown
    assert "sent 25.0" in shown


async def test_the_payload_comes_out_byte_by_byte(hands: Intake, citytally: CommandLine) -> None:
    payload = b"\xff\x00{nothing"
    await hands.take((STATION, payload))
    item = await hands.only_item()

    done = await citytally("quarantine", "show", item["item_id"], "--payload")

    assert done.stdout_bytes == payload


async def test_a_mended_payload_takes_the_message_s_place(
    hands: Intake, citytally: CommandLine
) -> None:
    await hands.take((STATION, TORN))
    item = await hands.only_item()
    mended = message(reading(temperature_c=20.5))[1]

    done = await citytally.json(
        "quarantine", "replay", item["item_id"], "--mended", "-", stdin=mended
    )

    assert done == {"closed": 1, "still_open": {}, "readings": {"written": 1}}
    assert await hands.items() == []
    await hands.balance()


async def test_what_is_refused_again_stays_and_exits_1(
    hands: Intake, citytally: CommandLine
) -> None:
    await hands.take((STATION, TORN), message(reading(temperature_c="warm")))

    done = await citytally.json("quarantine", "replay", "--all", exit_code=1)

    assert done == {"closed": 0, "still_open": {"malformed": 1, "schema": 1}, "readings": {}}
    await hands.balance()


async def test_an_accepted_conflict_replaces(hands: Intake, citytally: CommandLine) -> None:
    await hands.take(message(reading(temperature_c=20.0)))
    await hands.take(message(reading(temperature_c=25.0)))
    item = await hands.only_item()

    done = await citytally.json("quarantine", "accept", item["item_id"], "--note", "measured again")

    assert done == {"closed": 1, "readings": {"corrected": 1}}
    assert list((await hands.values("temperature_c")).values()) == [25.0]
    await hands.balance()


async def test_discarding_takes_a_reason_and_keeps_it(
    hands: Intake, citytally: CommandLine
) -> None:
    await hands.take((STATION, TORN))
    item = await hands.only_item()

    without = await citytally("quarantine", "discard", item["item_id"])
    done = await citytally.json("quarantine", "discard", item["item_id"], "--note", "a test")
    shown = await citytally("quarantine", "show", item["item_id"])

    assert without.exit_code == 2
    assert done == {"discarded": 1}
    assert "a test" in shown.stdout
    await hands.balance()


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",),
        ("replay", "1", "--all"),
        ("replay", "--all", "--mended", "-"),
        ("show", "99"),
        ("accept", "99"),
        ("discard", "99", "--note", "x"),
        ("list", "--reason", "bad mood"),
    ],
)
async def test_wrong_usage_exits_2_without_a_traceback(
    hands: Intake, citytally: CommandLine, arguments: tuple[str, ...]
) -> None:
    del hands
    done = await citytally("quarantine", *arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
