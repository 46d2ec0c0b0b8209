"""The registry is append-only: registering again changes nothing, a change is a new version."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from schemas.registry import Deployment, Device, InvalidRegistryError, Origin, Site
from services.storage import registry
from services.storage.registry import Registered, register
from tests.support.batches import connected, waiting
from tests.support.databases import Database

SITE = Site("square", "Market square", 11.05, 106.66, area="Phú Cường")
DEVICE = Device("station-1", "generic", "Station 1")
STOOD = Deployment("station-1", "", "square", datetime(2024, 1, 1, tzinfo=UTC))
NOTHING = Registered(0, 0, 0, 0)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database) as connection:
        yield connection


async def device(connection: asyncpg.Connection) -> asyncpg.Record:
    found = await connection.fetchrow("select * from current_devices")
    assert found is not None
    return found


def day(n: int) -> datetime:
    return datetime(2024, 1, n, tzinfo=UTC)


async def test_registering_again_changes_nothing(connection: asyncpg.Connection) -> None:
    async def once() -> Registered:
        return await register(connection, devices=[DEVICE], sites=[SITE], deployments=[STOOD])

    assert (await once(), await once()) == (Registered(1, 0, 1, 1), NOTHING)


async def test_a_change_is_a_new_version_and_the_former_stays(
    connection: asyncpg.Connection,
) -> None:
    await register(connection, devices=[DEVICE], sites=[SITE])
    done = await register(
        connection, devices=[replace(DEVICE, owner="the city")], sites=[replace(SITE, area="x")]
    )

    versions = (await registry.portrait(connection, "station-1")).versions
    assert done == Registered(0, 1, 1, 0)
    assert [row["owner"] for row in versions] == ["the city", None]
    assert await connection.fetchval("select area from current_sites") == "x"


async def test_a_version_of_before_may_come_back(connection: asyncpg.Connection) -> None:
    """A deployment that was ended by mistake goes on: the last word stands, not any former one."""
    ended = replace(STOOD, valid_to=day(5))
    counts = [
        (await register(connection, deployments=[one])).deployments for one in (STOOD, ended, STOOD)
    ]

    assert counts == [1, 1, 1]
    assert await connection.fetchval("select valid_to from current_deployments") is None


async def test_of_one_name_twice_the_last_stands(connection: asyncpg.Connection) -> None:
    other = replace(DEVICE, name="Station One")
    done = await register(
        connection, devices=[DEVICE, other], sites=[SITE, SITE], deployments=[STOOD, STOOD]
    )

    assert done == Registered(1, 0, 1, 1)
    assert (await device(connection))["name"] == "Station One"


async def test_the_first_version_holds_from_the_beginning_of_time(
    connection: asyncpg.Connection,
) -> None:
    await register(connection, devices=[DEVICE])

    assert await connection.fetchval("select valid_from = '-infinity' from devices")


async def test_data_begin_so_many_days_before_registration_by_default(
    connection: asyncpg.Connection,
) -> None:
    await register(connection, devices=[DEVICE], accept_past_days=10)

    age = datetime.now(UTC) - (await device(connection))["data_from"]
    assert timedelta(days=10) <= age < timedelta(days=10, minutes=5)


async def test_data_from_only_moves_back(connection: asyncpg.Connection) -> None:
    seen = []
    for data_from in (day(10), day(20), None, day(5)):
        await register(connection, devices=[replace(DEVICE, data_from=data_from)])
        seen.append((await device(connection))["data_from"])

    assert seen == [day(10), day(10), day(10), day(5)]
    assert await connection.fetchval("select count(*) from devices") == 2


async def test_two_registrations_at_once_take_turns(database: Database) -> None:
    """The one that began first and waits must not undo what the other one moved back."""
    async with (
        connected(database) as first, connected(database) as waits, connected(database) as watcher
    ):  # fmt: skip
        await register(first, devices=[replace(DEVICE, data_from=day(20))])
        async with first.transaction():
            await register(first, devices=[replace(DEVICE, data_from=day(5), name="moved back")])
            later = asyncio.create_task(
                register(waits, devices=[replace(DEVICE, data_from=day(10), name="renamed")])
            )
            await waiting(watcher, waits)
        await later

        now = await device(watcher)
    assert (now["data_from"], now["name"]) == (day(5), "renamed")


@pytest.mark.parametrize(("origin", "is_expected"), [("real", True), ("simulated", True),
                                                     ("recorded", False)])  # fmt: skip
async def test_silence_of_a_recorded_device_is_never_an_alarm(
    connection: asyncpg.Connection, origin: str, *, is_expected: bool
) -> None:
    await register(connection, devices=[replace(DEVICE, origin=Origin(origin))])

    assert ((await device(connection))["expected_from"] is not None) == is_expected


async def test_all_or_nothing(connection: asyncpg.Connection) -> None:
    with pytest.raises(InvalidRegistryError, match="no/id"):
        await register(connection, devices=[DEVICE, replace(DEVICE, device_id="no/id")])

    assert await connection.fetchval("select count(*) from devices") == 0


async def test_a_change_is_told_to_who_listens(connection: asyncpg.Connection) -> None:
    told = asyncio.Event()
    await connection.add_listener(registry.CHANGED, lambda *_: told.set())
    await register(connection, devices=[DEVICE])

    async with asyncio.timeout(5):
        await told.wait()
    await connection.reset()


async def test_judged_by_finds_all_some_and_those_changed_since(
    connection: asyncpg.Connection,
) -> None:
    await register(connection, devices=[DEVICE, replace(DEVICE, device_id="station-2")])
    since = await connection.fetchval("select clock_timestamp()")
    await register(connection, devices=[replace(DEVICE, device_id="station-3")])

    async def ids(**by: object) -> list[str]:
        rows = await registry.judged_by(connection, **by)  # type: ignore[arg-type]  # one of three
        return sorted(row["device_id"] for row in rows)

    assert await ids() == ["station-1", "station-2", "station-3"]
    assert await ids(since=since) == ["station-3"]
    assert await ids(device_ids=["station-2", "nobody"]) == ["station-2"]


async def test_a_device_that_was_taken_down_is_listed_without_its_former_site(
    connection: asyncpg.Connection,
) -> None:
    ended = replace(STOOD, valid_to=day(5))
    await register(connection, devices=[DEVICE], sites=[SITE], deployments=[ended])

    [row] = await registry.list_devices(connection)
    assert row["site"] is None
