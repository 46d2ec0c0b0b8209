"""A short life of a ledger, with every outcome in it, for tests that hold it against itself."""

from dataclasses import replace

import asyncpg

from services.storage import books, offsets, quarantine
from services.storage.balance import Balance
from services.storage.batches import QUARANTINE, Batch
from services.storage.quarantine import Closing
from services.storage.transactions import store, store_readings
from services.storage.writing import Paths, Work
from tests.support.batches import TOPIC, UNDECODABLE, Log, begin, reading, refused

OLDEST = "select item_id from quarantine_items where reason = $1 order by item_id limit 1"


async def live(connection: asyncpg.Connection) -> None:
    """A short life with every outcome in it: also a loss, a correction, and items closed."""
    logs = [Log(0), Log(1)]
    await begin(connection, *logs)
    for log in logs:
        one = reading(f"station-{log.partition}", values={"pm2_5_ugm3": 1.0})
        fills = reading(f"station-{log.partition}", values={"pm10_ugm3": 1.0})
        contradicts = reading(f"station-{log.partition}", values={"pm10_ugm3": 9.0})
        later = [reading(minute=24 * 60 * day, kind="traffic") for day in range(log.partition, 3)]
        batch = log.batch(one, fills, one, contradicts, refused(), UNDECODABLE, *later)
        await store(connection, batch, Paths())
    standing = (await offsets.positions(connection, TOPIC))[0]
    await offsets.book_lost(connection, standing, standing.next_offset + 4)
    gap = (await offsets.gaps(connection))[0]["gap_id"]
    await offsets.acknowledge_gaps(connection, [gap], "anna", "the disk was full")
    await correct(connection)


async def correct(connection: asyncpg.Connection) -> None:
    """Accept a conflict, as source quarantine, and discard what could not be decoded."""
    [copy] = Log().copies([reading("station-0", values={"pm10_ugm3": 9.0})])
    copy.arrival = replace(copy.arrival, source=QUARANTINE)
    batch = Batch(copies={"environmental": [copy]})
    batch.tally.decoded(copy.arrival, "environmental")
    async with connection.transaction():
        await store_readings(connection, batch, Work(50, Paths(), replace=True))
        for reason, state in (("conflict", "replayed"), ("malformed", "discarded")):
            item = await connection.fetchval(OLDEST, reason)
            await quarantine.close(connection, [item], Closing(state, "anna"), batch.tally)
        await books.keep(connection, batch, 50)


def failing(found: Balance) -> list[str]:
    return [equation.name for equation in found.equations if not equation.holds]
