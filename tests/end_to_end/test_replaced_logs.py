"""P3: a log that was emptied or replaced behind ingest's back is seen, counted and alarmed.

Deleted unread is a loss of known size; another log under the topic's name is a new generation and
a gap of unknown size. Either way the ledger is not balanced until a person acknowledges the gap.
"""

from pathlib import Path

import pytest

from schemas.topics import RAW
from tests.support.mortal import MortalCity, start, stop, until_waiting
from tests.support.pipeline import Pipeline
from tests.support.raw_topic import RawTopic, copy_cold, restore_cold, wipe
from tests.support.servers import Server

FIRST = range(120)
SHORTER = range(1_000, 1_060)
LONGER = range(1_000, 1_300)
ALL_PARTITIONS = {(0, partition) for partition in range(RAW.partitions)}
REPLACED = "the log was replaced"
EXPIRED = "records expired unread"

both_lengths = pytest.mark.parametrize("numbers", [SHORTER, LONGER], ids=["shorter", "longer"])
# The one that a client does not notice by itself, and quickly; the other one as well, in time.
longer_first = pytest.mark.parametrize(
    "numbers", [pytest.param(SHORTER, marks=pytest.mark.long), LONGER], ids=["shorter", "longer"]
)


@pytest.fixture
def topic(city: Pipeline) -> RawTopic:
    return RawTopic(city)


async def reads_first(topic: RawTopic) -> Server:
    """An ingest process that has stored the first readings."""
    await topic.register()
    ingest = topic.city.ingest()
    await topic.produce(FIRST)
    await topic.until_stored(FIRST)
    return ingest


async def is_a_new_generation(topic: RawTopic, ingest: Server, numbers: range) -> None:
    """All of the new log is stored; each partition has a gap, which a person must acknowledge."""
    await topic.until_stored(numbers)
    assert await topic.stored() == {*FIRST, *numbers}
    assert await topic.gaps("log_replaced") == ALL_PARTITIONS
    assert not (await topic.replaced_balance())["balanced"]
    assert ingest.log_tail(10_000).count(REPLACED) == RAW.partitions
    await topic.wants_acknowledgement()


@longer_first
async def test_a_topic_recreated_while_ingest_runs_is_a_new_generation(
    topic: RawTopic, numbers: range
) -> None:
    ingest = await reads_first(topic)
    await topic.recreate(numbers)
    await is_a_new_generation(topic, ingest, numbers)


@pytest.mark.long
@both_lengths
async def test_a_topic_recreated_while_ingest_is_frozen_is_a_new_generation(
    topic: RawTopic, numbers: range
) -> None:
    ingest = await reads_first(topic)
    ingest.pause()
    await topic.recreate(numbers)
    ingest.resume()
    await is_a_new_generation(topic, ingest, numbers)


@pytest.mark.long
@both_lengths
async def test_a_topic_recreated_while_ingest_is_down_is_a_new_generation(
    topic: RawTopic, numbers: range
) -> None:
    await stop(await reads_first(topic))
    await topic.recreate(numbers)
    ingest = topic.city.ingest("ingest-1")
    await is_a_new_generation(topic, ingest, numbers)


@pytest.mark.long
@both_lengths
async def test_a_topic_recreated_while_the_database_is_down_is_a_new_generation(
    mortal: MortalCity, numbers: range
) -> None:
    topic = RawTopic(mortal.pipeline)
    ingest = await reads_first(topic)
    await stop(mortal.postgresql)
    await until_waiting(ingest, "database")
    await topic.recreate(numbers)
    await start(mortal.postgresql)
    await is_a_new_generation(topic, ingest, numbers)


@pytest.mark.long
async def test_partitions_that_a_recreated_topic_lacks_are_gaps_too(topic: RawTopic) -> None:
    ingest = await reads_first(topic)
    await topic.recreate(SHORTER, partitions=3)
    await is_a_new_generation(topic, ingest, SHORTER)


async def test_records_deleted_unread_are_counted_as_lost(topic: RawTopic) -> None:
    # The broker may have answered one fetch of the frozen process with the second readings; the
    # third ones it cannot have seen.
    second, third, fourth = range(200, 260), range(300, 390), range(400, 450)
    ingest = await reads_first(topic)
    ingest.pause()
    await topic.produce(second)
    await topic.produce(third)
    await topic.delete_records()
    await topic.produce(fourth)
    ingest.resume()

    await topic.until_stored(fourth)

    stored = await topic.stored()
    assert stored - set(second) == {*FIRST, *fourth}
    await counts_as_lost(topic, ingest, {*second, *third} - stored)


async def test_records_deleted_while_the_database_is_down_are_counted_as_lost(
    mortal: MortalCity,
) -> None:
    topic = RawTopic(mortal.pipeline)
    second, third = range(200, 290), range(300, 350)
    ingest = await reads_first(topic)
    await stop(mortal.postgresql)
    await until_waiting(ingest, "database")
    await topic.produce(second)
    await topic.delete_records()
    await topic.produce(third)
    await start(mortal.postgresql)

    await topic.until_stored(third)

    assert await topic.stored() - set(second) == {*FIRST, *third}
    await counts_as_lost(topic, ingest, set(second) - await topic.stored())


async def counts_as_lost(topic: RawTopic, ingest: Server, lost: set[int]) -> None:
    """The ledger counts them, holds, and asks for an acknowledgement of every gap."""
    balance = await topic.city.balance()
    assert balance["messages"]["lost"] == len(lost) > 0
    assert all(equation["holds"] for equation in balance["equations"])
    assert await topic.gaps("expired_unread") != set()
    assert EXPIRED in ingest.log_tail(10_000)
    assert not balance["balanced"]
    await topic.wants_acknowledgement()


async def test_records_deleted_after_they_were_read_are_no_loss(topic: RawTopic) -> None:
    await stop(await reads_first(topic))
    await topic.delete_records()
    topic.city.ingest("ingest-1")
    await topic.produce(SHORTER)

    await topic.until_stored(SHORTER)

    balance = await topic.city.balance()
    assert balance["balanced"], balance
    assert (balance["messages"]["lost"], balance["gaps"]) == (0, [])


async def test_offsets_that_hold_no_record_are_counted_and_read_past(topic: RawTopic) -> None:
    ingest = await reads_first(topic)
    await topic.produce_in_transactions(SHORTER, LONGER[100:])

    await topic.until_stored({*SHORTER, *LONGER[100:]})

    assert await topic.stored() == {*FIRST, *SHORTER, *LONGER[100:]}
    assert await topic.gaps("not_in_log") != set()
    assert "offsets without a record" in ingest.log_tail(10_000)
    await topic.wants_acknowledgement()


@pytest.mark.long
async def test_added_partitions_are_consumed_from_their_first_record(topic: RawTopic) -> None:
    await reads_first(topic)
    await topic.add_partitions(RAW.partitions + 4)
    await topic.produce(LONGER)

    await topic.until_stored(LONGER)

    assert await topic.stored() == {*FIRST, *LONGER}
    balance = await topic.city.balance()
    assert balance["balanced"], balance
    added = await topic.city.fetchval(
        "select min(next_offset) from consumed_offsets where partition >= $1", RAW.partitions
    )
    assert added > 0


@pytest.mark.long
async def test_a_new_cluster_under_the_old_address_is_a_new_generation(mortal: MortalCity) -> None:
    topic = RawTopic(mortal.pipeline)
    ingest = await reads_first(topic)
    await wipe(mortal.kafka)
    await topic.create()
    await topic.produce(LONGER)
    await is_a_new_generation(topic, ingest, LONGER)


@pytest.mark.long
async def test_other_records_in_the_same_topic_are_known_by_the_witness(
    mortal: MortalCity, tmp_path: Path
) -> None:
    topic = RawTopic(mortal.pipeline)
    before, other = range(120, 200), range(5_000, 5_400)
    await topic.register()
    ingest = topic.city.ingest()
    await topic.produce(FIRST)
    await topic.until_stored(FIRST)
    await copy_cold(mortal.kafka, tmp_path / "kafka")
    await topic.produce(before)
    await topic.until_stored(before)

    await restore_cold(mortal.kafka, tmp_path / "kafka")
    await topic.produce(other)
    await topic.until_stored(other)

    # The restored log has the first readings again: those are duplicates, the others are new.
    assert await topic.stored() == {*FIRST, *before, *other}
    assert await topic.gaps("log_replaced") <= ALL_PARTITIONS
    assert REPLACED in ingest.log_tail(10_000)
    await topic.wants_acknowledgement()
