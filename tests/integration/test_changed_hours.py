"""A reader of changed hours loses none that a writer had open meanwhile (P6)."""

from schemas.messages import Reading
from services.storage.transactions import store
from services.storage.writing import Paths
from tests.support.batches import Log, begin, connected, reading
from tests.support.databases import Database

TAKE = """
    with taken as (
        delete from changed_hours where slot = 0
        returning kind, hour, batch_id
    )
    select kind, hour, batch_id from taken
"""


def at_seven(minute: int) -> Reading:
    return reading(minute=minute, values={"pm1_ugm3": float(minute)})


async def test_an_hour_taken_between_a_writers_statement_and_its_commit_is_marked_again(
    database: Database,
) -> None:
    one, other = Log(0), Log(1)
    async with connected(database) as writer, connected(database) as derive:
        await begin(writer, one, other)
        await store(writer, one.batch(at_seven(1)), Paths())
        async with writer.transaction():
            await store(writer, other.batch(at_seven(2)), Paths())
            first = await derive.fetch(TAKE)  # the second mark of the same hour is not visible yet
            seen = await derive.fetchval("select count(*) from environmental_readings")
        second = await derive.fetch(TAKE)
        rows = await derive.fetch("select batch_id, pm1_ugm3 from environmental_readings")

    assert (len(first), seen, len(second)) == (1, 1, 1)
    assert (first[0]["kind"], first[0]["hour"]) == (second[0]["kind"], second[0]["hour"])
    by_batch = {row["batch_id"]: row["pm1_ugm3"] for row in rows}
    assert [by_batch[first[0]["batch_id"]], by_batch[second[0]["batch_id"]]] == [1.0, 2.0]


async def test_a_snapshot_deletes_only_the_marks_whose_rows_it_saw(database: Database) -> None:
    log = Log()
    async with connected(database) as writer, connected(database) as derive:
        await begin(writer, log)
        await store(writer, log.batch(at_seven(1)), Paths())
        async with derive.transaction(isolation="repeatable_read"):
            seen = await derive.fetchval("select count(*) from environmental_readings")
            await store(writer, log.batch(at_seven(2)), Paths())
            taken = await derive.fetch(TAKE)
        left = await derive.fetchval("select count(*) from changed_hours where slot = 0")

    assert (seen, len(taken), left) == (1, 1, 1)


async def test_nobody_waits_for_a_reader_that_holds_its_marks(database: Database) -> None:
    log = Log()
    async with connected(database) as writer, connected(database) as derive:
        await begin(writer, log)
        await writer.execute("set lock_timeout = 1000")
        await store(writer, log.batch(at_seven(1)), Paths())
        async with derive.transaction():
            await derive.fetch(TAKE)
            await store(writer, log.batch(at_seven(2)), Paths())
        assert len(await derive.fetch(TAKE)) == 1


async def test_a_batch_that_rolled_back_marks_nothing(database: Database) -> None:
    log = Log()
    async with connected(database) as writer:
        await begin(writer, log)
        transaction = writer.transaction()
        await transaction.start()
        await store(writer, log.batch(at_seven(1)), Paths())
        await transaction.rollback()

        assert await writer.fetch(TAKE) == []


async def test_a_row_that_was_merged_takes_the_batch_that_changed_it(database: Database) -> None:
    """So that derive, which finds readings through their batch, sees it."""
    log = Log()
    async with connected(database) as writer:
        await begin(writer, log)
        await store(writer, log.batch(at_seven(1)), Paths())
        await writer.fetch(TAKE)
        merging = reading(minute=1, values={"pm10_ugm3": 3.0})
        await store(writer, log.batch(merging), Paths())

        [mark] = await writer.fetch(TAKE)
        batch_id = await writer.fetchval("select batch_id from environmental_readings")
    assert mark["batch_id"] == batch_id
