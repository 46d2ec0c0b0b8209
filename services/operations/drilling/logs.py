"""Kafka's log emptied, cut back or replaced behind ingest's back: seen, counted, never hidden."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import for_code

from schemas.topics import RAW
from services.common import kafka
from services.operations.drilling import questions
from services.operations.drilling.backups import copy_folder, put_in_place
from services.operations.drilling.questions import in_kafka
from services.operations.drilling.result import Promise
from services.operations.drilling.run import Run
from services.operations.drilling.scenario import Scenario

P1, P2, P3 = Promise.P1, Promise.P2, Promise.P3
INGESTS = ("ingest-0", "ingest-1")


async def expired_unread(run: Run) -> None:
    """Delete what ingest, which is away, has not read: a loss of known size, and only that."""
    stage = run.stage
    await run.settle()
    run.say("ingest is stopped; messages gather in Kafka")
    await stage.stop(*INGESTS)
    unread = run.readings(run.messages // 3)
    await run.publish(unread)
    await stage.until(in_kafka(stage, len(unread)), "the messages are in Kafka")
    ends, positions = await questions.ends(stage), await questions.positions(stage)
    run.say(f"{len(unread)} records are deleted unread, as retention would")
    await _delete_records(run, ends)
    run.gaps = {(partition, positions[partition], end) for partition, end in ends.items()
                if end > positions[partition]}  # fmt: skip
    run.lost = stage.due & {each.becomes for each in unread}
    await run.publish(run.readings(run.messages // 3))
    await stage.start(*INGESTS)


async def log_recreated(run: Run) -> None:
    """Delete the topic and make it anew, while the gateway goes on: a new generation."""
    stage = run.stage
    async with run.load() as load:
        await load.reaches(0.3)
    await run.settle()
    positions = await questions.positions(run.stage)
    run.say("the topic is deleted and made again, while messages go on")
    run.gaps = {(partition, position, None) for partition, position in positions.items()}
    async with _admin(run) as admin:
        await _delete_topic(run, admin)
        async with run.load() as load:
            await load.seconds(0.5)
            await stage.until(_created(run, admin), "the topic is made again")
            await load.reaches(0.5)


async def log_truncated(run: Run) -> None:
    """Put an older copy of Kafka's data in its place: the log ends before what was read."""
    stage, data = run.stage, run.stage.city.layout.kafka.log_directory
    copy = data.with_name("backup")
    await run.publish(run.readings(run.messages // 3))
    await run.settle()
    run.say("Kafka is stopped and its data copied")
    ends = await questions.ends(run.stage)
    await stage.stop("kafka")
    await asyncio.to_thread(copy_folder, data, copy)
    await stage.start("kafka")
    await run.publish(run.readings(run.messages // 3))
    await run.settle()
    positions = await questions.positions(run.stage)
    run.gaps = {(partition, positions[partition], None) for partition, end in ends.items()
                if positions[partition] > end}  # fmt: skip
    run.say("Kafka is killed and the older copy put in its place; what follows goes there")
    await stage.kill("kafka")
    await asyncio.to_thread(put_in_place, copy, data)
    await stage.start("kafka")
    await run.publish(run.readings(run.messages // 3))


async def expired_read(run: Run) -> None:
    """Delete what was read and stored already: no loss, no gap."""
    await run.publish(run.readings(run.messages // 2))
    await run.settle()
    run.say("all records are deleted after they were read")
    await _delete_records(run, await questions.ends(run.stage))
    await run.publish(run.readings(run.messages // 2))


async def _delete_records(run: Run, ends: dict[int, int]) -> None:
    topic = run.stage.settings.raw_topic
    places = {TopicPartition(topic, partition): RecordsToDelete(end)
              for partition, end in ends.items() if end}  # fmt: skip
    async with _admin(run) as admin:
        await admin.delete_records(places)


async def _delete_topic(run: Run, admin: AIOKafkaAdminClient) -> None:
    answer = await admin.delete_topics([run.stage.settings.raw_topic])
    for name, code in answer.topic_error_codes:
        if code:
            raise for_code(code)(f"could not delete {name}")


def _created(run: Run, admin: AIOKafkaAdminClient) -> Callable[[], Awaitable[bool]]:
    """Ask until the former topic is gone and the new one made."""
    wanted = replace(RAW, name=run.stage.settings.raw_topic)

    async def is_created() -> bool:
        return bool(await kafka.create_topics(admin, [wanted]))

    return is_created


@asynccontextmanager
async def _admin(run: Run) -> AsyncIterator[AIOKafkaAdminClient]:
    client = kafka.admin(run.stage.settings, "citytally-drill")
    await client.start()
    try:
        yield client
    finally:
        await client.close()


SCENARIOS = (
    Scenario(
        "expired-unread", "records expired before they were read", (P1, P2, P3), expired_unread,
        quick=True,
    ),
    Scenario("expired-read", "records expired after they were read", (P1, P2, P3), expired_read),
    Scenario("log-recreated", "the topic deleted and made anew", (P1, P2, P3), log_recreated),
    Scenario("log-truncated", "Kafka restored to an older copy", (P1, P2, P3), log_truncated),
)  # fmt: skip
