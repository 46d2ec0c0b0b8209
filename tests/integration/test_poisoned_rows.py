"""A row that PostgreSQL refuses stands alone in quarantine; its neighbours are stored (P4)."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from schemas.messages import Reading
from services.storage.transactions import store
from services.storage.writing import Paths
from tests.support.batches import Log, begin, connected, outcomes, reading, reasons, rows
from tests.support.databases import Database

POISONED: Mapping[str, Reading] = {
    "NUL in the part": reading("bad", part="a\0b"),
    "NUL in a text": reading("bad", kind="broadband", texts={"tool": "a\0b"}),
    "NUL in extra": reading("bad", extra={"firmware": ["7\0"]}),
    "NUL in a name of extra": reading("bad", extra={"firm\0ware": 7}),
    "a part too long for the index": reading("bad", part=secrets.token_hex(5000)),
    "half of a surrogate pair in the part": reading("bad", part="\ud800"),
    "half of a surrogate pair in extra": reading("bad", extra={"firmware": "\udfff"}),
    "no number in extra": reading("bad", extra={"x": float("nan")}),
    "a time before TimescaleDB's": reading("bad"),
}
POISONED["a time before TimescaleDB's"].time = datetime(1, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("staged", [False, True], ids=["copy", "staging"])
async def test_each_stands_alone_among_good_ones(database: Database, *, staged: bool) -> None:
    async with connected(database) as connection:
        for partition, (what, bad) in enumerate(POISONED.items()):
            log, paths = Log(partition), Paths()
            paths.staging[bad.kind] = 3 if staged else 0
            good = [reading(f"good-{partition}", minute, kind=bad.kind) for minute in range(8)]
            await begin(connection, log)
            await store(connection, log.batch(*good[:3], bad, *good[3:]), paths)

            counts = await outcomes(connection, log.source)
            assert counts == {"decoded": 9, "written": 8, "quarantined": 1}, what
        assert await reasons(connection) == {"rejected_by_database": len(POISONED)}
        stored = await rows(connection) + await rows(connection, "broadband")
        assert {row["device_id"] for row in stored} == {f"good-{n}" for n in range(len(POISONED))}
        assert len(stored) == 8 * len(POISONED)


async def test_several_in_a_batch_of_500_are_found_each(database: Database) -> None:
    log = Log()
    messages = [reading(minute=minute, values={"pm1_ugm3": 1.0}) for minute in range(500)]
    for place, bad in zip((0, 7, 8, 250, 499), list(POISONED.values())[2:7], strict=True):
        messages[place] = bad
    async with connected(database) as connection:
        await begin(connection, log)
        await store(connection, log.batch(*messages), Paths())

        assert await outcomes(connection) == {"decoded": 500, "written": 495, "quarantined": 5}
        places = await connection.fetch(
            "select kafka_offset from quarantine_messages order by kafka_offset"
        )
        assert [row["kafka_offset"] for row in places] == [0, 7, 8, 250, 499]
        assert len(await rows(connection)) == 495


async def test_one_that_would_be_folded_away_is_refused_all_the_same(database: Database) -> None:
    log = Log()
    sound = reading("bad", kind="broadband", texts={"tool": "ndt7"})
    async with connected(database) as connection:
        await begin(connection, log)
        await store(connection, log.batch(sound, POISONED["NUL in a text"]), Paths())

        assert await reasons(connection) == {"rejected_by_database": 1}


async def test_the_reason_shows_what_postgresql_said(database: Database) -> None:
    log = Log()
    async with connected(database) as connection:
        await begin(connection, log)
        await store(connection, log.batch(POISONED["NUL in the part"]), Paths())

        item = await connection.fetchrow("select * from quarantine_items")
    assert item is not None
    assert item["detail"].startswith("22021: invalid byte sequence")
    assert (item["device_id"], item["part"]) == ("bad", "a␀b")
