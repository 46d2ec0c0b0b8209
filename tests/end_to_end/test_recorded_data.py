"""P2, P3: real recorded files go in through MQTT; what is stored is what the files say, once."""

import json
from collections import Counter
from pathlib import Path

import pytest

from schemas.channels import CHANNELS, TEXTS
from services.operations.replaying import register
from services.operations.replaying.formats import FORMATS as READERS
from services.operations.replaying.play import Played, replay
from tests.support.pipeline import Pipeline
from tests.support.recorded_files import FORMATS, Expected, Format, Identity, Values

CONSUME_SECONDS = 600.0


def named(each: Format) -> str:
    return each.name


async def play(city: Pipeline, each: Format, paths: list[Path]) -> Played:
    """What `citytally replay` does, at full speed, and then wait until all is consumed."""
    recording = READERS[each.name](paths)
    async with city.publisher(client_id="replay") as publisher:
        played = await replay(recording, publisher, register.in_database(city.settings))
    assert played.complete
    assert played.skipped == {}
    return played


async def stored(city: Pipeline, each: Format) -> dict[Identity, Values]:
    """Every row with its values, those that were withheld as out of bounds included."""
    rows = await city.fetch(f"select * from {each.kind}_readings")  # noqa: S608 # a kind
    channels = (*CHANNELS[each.kind], *TEXTS[each.kind])
    found: dict[Identity, Values] = {}
    for row in rows:
        values = {name: row[name] for name in channels if row[name] is not None}
        flags = json.loads(row["quality_flags"] or "{}")
        values |= {name: flag["original"] for name, flag in flags.items() if name not in values}
        found[row["device_id"], row["part"], row["time"]] = values
    assert len(found) == len(rows)
    return found


async def goes_in_twice(city: Pipeline, each: Format, paths: list[Path]) -> None:
    """Both times the rows and the counts are what the files say."""
    city.gateway()
    city.ingest()
    expected = Expected()
    for copies in (1, 2):
        expected.add(each.read(paths))
        played = await play(city, each, paths)
        await city.until_consumed(copies * played.total, CONSUME_SECONDS)

        found = await stored(city, each)
        assert per_device(found) == per_device(expected.rows)
        assert found == expected.rows
        balance = await city.balance()
        assert balance["balanced"], balance
        assert {name: n for name, n in balance["readings"].items() if n} == expected.outcomes
    assert expected.outcomes["duplicate"] >= len(expected.rows)


def per_device(rows: dict[Identity, Values]) -> Counter[tuple[str, str]]:
    return Counter((device_id, part) for device_id, part, _ in rows)


@pytest.mark.parametrize("each", FORMATS, ids=named)
async def test_recorded_files_are_stored_as_they_say_and_only_once(
    city: Pipeline, each: Format, tmp_path: Path
) -> None:
    await goes_in_twice(city, each, each.some(tmp_path))


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("each", FORMATS, ids=named)
async def test_all_recorded_files_are_stored_as_they_say_and_only_once(
    city: Pipeline, each: Format
) -> None:
    await goes_in_twice(city, each, each.paths(each.all_files))
