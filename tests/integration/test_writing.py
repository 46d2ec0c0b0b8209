"""Readings into TimescaleDB: each identity is one row, and every copy has its outcome (P2)."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from schemas.messages import Reading
from services.storage.batches import Batch
from services.storage.transactions import store, write_readings
from services.storage.writing import Paths, Work
from tests.support.batches import (
    RECEIVED,
    START,
    Log,
    begin,
    books,
    connected,
    outcomes,
    reading,
    reasons,
    rows,
    store_all,
)
from tests.support.databases import Database

NEW = reading(values={"pm2_5_ugm3": 1.0})
FILLS = reading(values={"pm10_ugm3": 2.0})
AGAIN = reading(values={"pm2_5_ugm3": 1.0})
CONTRADICTS = reading(values={"pm2_5_ugm3": 9.0})
ONE_OF_EACH = [NEW, FILLS, AGAIN, CONTRADICTS]


def splits(said: Sequence[Reading]) -> Iterator[list[Sequence[Reading]]]:
    """All ways to cut one order of readings into batches."""
    inner = range(1, len(said))
    for n in range(len(said)):
        for cuts in itertools.combinations(inner, n):
            edges = [0, *cuts, len(said)]
            yield [said[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    "split", list(splits(ONE_OF_EACH)), ids=lambda split: "+".join(str(len(part)) for part in split)
)
async def test_new_merged_duplicate_and_conflict_of_one_identity_in_any_batches(
    database: Database, split: list[Sequence[Reading]]
) -> None:
    log = Log()
    async with connected(database) as connection:
        await begin(connection, log)
        await store_all(connection, *[log.batch(*part) for part in split])

        assert await outcomes(connection) == {
            "decoded": 4, "written": 1, "merged": 1, "duplicate": 1, "quarantined": 1,
        }  # fmt: skip
        assert await reasons(connection) == {"conflict": 1}
        assert await rows(connection) == [
            {
                "device_id": "station-1", "part": "", "time": START, "time_source": "device",
                "received_at": RECEIVED + timedelta(milliseconds=1), "kafka_partition": 0,
                "kafka_offset": 1, "pm2_5_ugm3": 1.0, "pm10_ugm3": 2.0,
            }
        ]  # fmt: skip


async def test_all_new_rows_are_counted_and_mark_their_hours_once_a_slot(
    database: Database,
) -> None:
    log = Log()
    async with connected(database) as connection:
        await begin(connection, log)
        await store(connection, log.batch(*[reading(minute=m) for m in range(90)]), Paths())

        hours = await connection.fetch("select kind, hour, slot from changed_hours order by 2, 3")
        stored = await connection.fetch("select source, kind, day::text, n from stored_rows")
    assert [(row["kind"], row["hour"].hour, row["slot"]) for row in hours] == [
        ("environmental", hour, slot) for hour in (7, 8) for slot in range(4)
    ]
    assert [tuple(row) for row in stored] == [(log.source, "environmental", "2024-01-22", 90)]


async def test_a_reading_without_values_is_stored(database: Database) -> None:
    log = Log()
    async with connected(database) as connection:
        await begin(connection, log)
        await store(connection, log.batch(reading()), Paths())

        assert len(await rows(connection)) == 1


async def test_all_kinds_and_their_texts_go_to_their_own_tables(database: Database) -> None:
    log = Log()
    probe = reading(kind="broadband", values={"download_mbps": 94.5}, texts={"tool": "ndt7"})
    lane = reading(kind="traffic", part="1", values={"vehicles": 12.0}, interval_s=300.0)
    async with connected(database) as connection:
        await begin(connection, log)
        await store(connection, log.batch(probe, lane, NEW), Paths())

        [speed] = await rows(connection, "broadband")
        [count] = await rows(connection, "traffic")
    assert (speed["download_mbps"], speed["tool"]) == (94.5, "ndt7")
    assert (count["part"], count["vehicles"], count["interval_s"]) == ("1", 12.0, 300.0)


async def test_a_late_reading_is_stored_at_its_own_hour_and_the_latest_stays(
    database: Database,
) -> None:
    log = Log()
    async with connected(database) as connection:
        await begin(connection, log)
        await store_all(connection, log.batch(reading(minute=600)), log.batch(reading(minute=-5)))

        times = [row["time"] for row in await rows(connection)]
        hours = await connection.fetch("select distinct hour from changed_hours order by 1")
    assert times == [START - timedelta(minutes=5), START + timedelta(minutes=600)]
    assert [row["hour"].hour for row in hours] == [6, 17]


async def test_a_duplicate_marks_no_hour(database: Database) -> None:
    log = Log()
    async with connected(database) as connection:
        await begin(connection, log)
        await store(connection, log.batch(NEW), Paths())
        await connection.execute("delete from changed_hours")
        await store(connection, log.batch(AGAIN), Paths())

        assert await connection.fetchval("select count(*) from changed_hours") == 0


async def test_the_revision_keeps_the_former_row_whole(database: Database) -> None:
    log = Log()
    whole = reading(
        values={"pm2_5_ugm3": 1.5}, extra={"firmware": "7"}, interval_s=60.0,
        flags={"pm10_ugm3": {"flag": 4, "why": "sentinel", "original": -999.0,
                             "original_unit": "µg/m³"}},
    )  # fmt: skip
    async with connected(database) as connection:
        await begin(connection, log)
        await store(connection, log.batch(whole), Paths())
        before = dict(await connection.fetchrow("select * from environmental_readings") or {})
        await store(connection, log.batch(FILLS), Paths())

        revision = await connection.fetchrow("select * from reading_revisions")
        after = await connection.fetchrow("select * from environmental_readings")
    assert revision is not None
    assert after is not None
    former = json.loads(revision["former"])
    assert former.keys() == before.keys()
    assert {name: as_stored(former[name], value) for name, value in before.items()} == before
    assert (revision["outcome"], revision["replaced_by"]) == ("merged", after["batch_id"])
    assert after["stored_at"] > before["stored_at"]


def as_stored(kept: object, like: object) -> object:
    """A value of a revision in the type of the column that it was kept from."""
    if isinstance(like, datetime):
        return datetime.fromisoformat(str(kept)).astimezone(UTC)
    return json.dumps(kept, ensure_ascii=False) if isinstance(kept, dict) else kept


@pytest.mark.parametrize("value", [1.5, 1e23, 1 / 3, -0.0, 5e-324])
async def test_who_repeats_an_earlier_version_after_a_correction_is_a_duplicate(
    database: Database, value: float
) -> None:
    log = Log()
    once, now = reading(values={"pm2_5_ugm3": value}), reading(values={"pm2_5_ugm3": 7.0})
    async with connected(database) as connection:
        await begin(connection, log)
        await store(connection, log.batch(once), Paths())
        correcting = Batch(copies={"environmental": log.copies([now])})
        async with connection.transaction():
            [fate] = await write_readings(connection, correcting, Work(99, Paths(), replace=True))
        log.next_offset = 1
        await store(connection, log.batch(once, now), Paths())

        assert fate.outcome == "corrected"
        assert (await outcomes(connection, log.source))["duplicate"] == 2
        assert [row["pm2_5_ugm3"] for row in await rows(connection)] == [7.0]


async def test_staging_is_left_after_some_clean_batches_and_taken_up_again(
    database: Database,
) -> None:
    log, paths = Log(), Paths()
    async with connected(database) as connection:
        await begin(connection, log)
        await store_all(connection, log.batch(NEW), log.batch(AGAIN), paths=paths)
        after_a_duplicate = paths.staging["environmental"]
        for minute in range(1, 1 + after_a_duplicate):
            await store(connection, log.batch(reading(minute=minute)), paths)

        assert after_a_duplicate > 0
        assert paths.staging["environmental"] == 0
        assert (await outcomes(connection))["written"] == 1 + after_a_duplicate


async def test_copies_of_many_chunks_meet_their_rows(database: Database) -> None:
    log = Log()
    weeks = [reading(minute=week * 7 * 24 * 60, values={"pm10_ugm3": 1.0}) for week in range(12)]
    more = [reading(minute=week * 7 * 24 * 60, values={"pm1_ugm3": 1.0}) for week in range(12)]
    async with connected(database) as connection:
        await begin(connection, log)
        await store_all(connection, log.batch(*weeks), log.batch(*more), log.batch(*weeks))

        counts = await outcomes(connection)
        assert all({"pm10_ugm3", "pm1_ugm3"} <= row.keys() for row in await rows(connection))
    assert counts == Counter(decoded=36, written=12, merged=12, duplicate=12)


async def test_books_of_two_logs_stand_apart(database: Database) -> None:
    logs = [Log(0), Log(1)]
    async with connected(database) as connection:
        await begin(connection, *logs)
        both = logs[0].batch(NEW)
        other = logs[1].batch(AGAIN)
        merged = Batch(
            both.spans + other.spans,
            {"environmental": both.copies["environmental"] + other.copies["environmental"]},
        )
        for tally in (both.tally, other.tally):
            merged.tally.messages += tally.messages
            merged.tally.readings += tally.readings
        await store(connection, merged, Paths())

        assert await outcomes(connection, logs[0].source) == {"decoded": 1, "written": 1}
        assert await outcomes(connection, logs[1].source) == {"decoded": 1, "duplicate": 1}
        found = await books(connection)
    assert [row[3:5] for row in found["consumed_offsets"]] != []
