"""Devices from the command line: registered one or many, and what they had sent replayed."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, command_line
from tests.support.databases import Database
from tests.support.intake import Intake, intake, message, reading

STRANGER = "citytally/v1/environmental/stranger"
SINCE_2024 = ("--data-from", "2024-01-01T00:00:00Z")


@pytest.fixture
async def hands(database: Database) -> AsyncIterator[Intake]:
    async with intake(database) as hands:
        yield hands


@pytest.fixture
def citytally(database: Database, tmp_path: Path) -> Iterator[CommandLine]:
    with command_line(database, tmp_path) as cli:
        yield cli


async def test_registering_replays_what_a_device_had_sent(
    hands: Intake, citytally: CommandLine
) -> None:
    await hands.take(
        message([reading(minute, temperature_c=20 + minute) for minute in range(3)], STRANGER),
        message(reading(5, temperature_c="warm"), STRANGER),
    )

    done = await citytally.json(
        "devices", "add", "stranger", "--type", "environmental-station", *SINCE_2024
    )

    assert done["waited"] == 4
    assert (done["closed"], done["readings"]) == (3, {"written": 3})
    assert done["still_open"] == {"schema": 1}
    assert len(await hands.values("temperature_c")) == 3
    await hands.balance()


async def test_registering_again_changes_nothing(hands: Intake, citytally: CommandLine) -> None:
    del hands
    add = ("devices", "add", "d-1", "--type", "sound-meter", "--site", "park", *SINCE_2024)
    first = await citytally.json(*add)
    again = await citytally.json(*add)

    assert (first["new_devices"], first["sites"], first["deployments"]) == (1, 1, 1)
    assert not any(again[name] for name in ("new_devices", "changed_devices", "deployments"))


async def test_what_is_not_named_stays(hands: Intake, citytally: CommandLine) -> None:
    del hands
    await citytally.json("devices", "add", "d-1", "--type", "sound-meter", "--owner", "the city")
    changed = await citytally.json("devices", "add", "d-1", "--name", "Chợ")
    versions = (await citytally.json("devices", "show", "d-1"))["versions"]

    assert changed["changed_devices"] == 1
    assert [version["name"] for version in versions] == ["Chợ", None]
    assert (versions[0]["device_type"], versions[0]["owner"]) == ("sound-meter", "the city")


async def test_many_come_from_a_file(hands: Intake, citytally: CommandLine, tmp_path: Path) -> None:
    del hands
    file = tmp_path / "devices.csv"
    file.write_text(
        "device_id,type,site,latitude,longitude\n"
        "a,traffic-counter,bridge,10.9,106.7\n"
        "b,traffic-counter,bridge,10.9,106.7\n"
    )

    done = await citytally.json("devices", "add", "--file", file)
    listed = await citytally.json("devices", "list", "--type", "traffic-counter")

    assert (done["new_devices"], done["sites"]) == (2, 1)
    assert [device["device_id"] for device in listed] == ["a", "b"]


async def test_one_bad_row_registers_nobody(hands: Intake, citytally: CommandLine) -> None:
    del hands
    rows = b'{"device_id": "a"}\n{"device_id": "b", "type": "sound-metre"}\n'

    done = await citytally("devices", "add", "--file", "-", stdin=rows)

    assert done.exit_code == 2
    assert "row 2" in done.stderr
    assert "sound-meter" in done.stderr
    assert await citytally.json("devices", "list") == []


async def test_show_tells_the_newest_reading_and_what_was_refused(
    hands: Intake, citytally: CommandLine
) -> None:
    await hands.register("stranger")
    await hands.take(
        message([reading(1, temperature_c=21.5), reading(0, temperature_c=20)], STRANGER),
        message(reading(2, temperature_c="warm"), STRANGER),
    )

    told = await citytally.json("devices", "show", "stranger")
    shown = (await citytally("devices", "show", "stranger")).stdout

    assert told["newest"]["environmental"]["temperature_c"] == 21.5
    assert told["open"] == {"schema": 1}
    assert "21.5 °C" in shown
    assert "1 schema" in shown


async def test_an_unregistered_device_that_sent_something_is_shown(
    hands: Intake, citytally: CommandLine
) -> None:
    await hands.take(message(reading(temperature_c=20), STRANGER))
    shown = await citytally("devices", "show", "stranger")
    assert shown.exit_code == 0
    assert "not registered" in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("add",),
        ("add", "d-1", "--file", "-"),
        ("add", "--file", "/nowhere.csv"),
        ("add", "no/such id"),
        ("add", "d-1", "--origin", "imagined"),
        ("add", "d-1", "--site", "park", "--latitude", "91", "--longitude", "0"),
        ("show", "nobody"),
    ],
)
async def test_wrong_usage_exits_2_without_a_traceback(
    hands: Intake, citytally: CommandLine, arguments: tuple[str, ...]
) -> None:
    del hands
    done = await citytally("devices", *arguments)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
