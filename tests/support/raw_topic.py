"""What may happen to Kafka's log behind ingest's back, and what it then must have made of it."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.errors import for_code
from typer.testing import CliRunner, Result

from schemas.topics import RAW
from services.cli.main import app
from services.common import kafka as kafka_clients
from tests.support import load
from tests.support.mortal import until
from tests.support.pipeline import Pipeline
from tests.support.servers import KafkaServer


@dataclass(frozen=True)
class RawTopic:
    """The raw topic of a pipeline, whose records are numbered readings (see ``load``)."""

    city: Pipeline

    @property
    def name(self) -> str:
        return self.city.settings.raw_topic

    async def register(self) -> None:
        await self.city.register(*(load.device_id(n) for n in range(load.DEVICES)))

    async def produce(self, numbers: Iterable[int]) -> None:
        await self.city.produce([load.message(n) for n in numbers])

    async def produce_in_transactions(self, *groups: Iterable[int]) -> None:
        """Produce as no gateway does: a marker that is no record ends each group's partitions."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.city.settings.kafka_bootstrap, transactional_id=self.name
        )
        async with producer:
            for numbers in groups:
                async with producer.transaction():
                    for topic, payload in map(load.message, numbers):
                        await producer.send(self.name, payload, key=topic.encode())

    async def delete_records(self) -> None:
        """Delete all that there is, as retention would; new records follow at the same offsets."""
        ends = await self.city.ends()
        places = {
            TopicPartition(self.name, partition): RecordsToDelete(end)
            for partition, end in ends.items()
            if end
        }
        async with self._admin() as admin:
            await admin.delete_records(places)

    async def delete(self) -> None:
        async with self._admin() as admin:
            answer = await admin.delete_topics([self.name])
            errors = [for_code(code) for _, code in answer.topic_error_codes if code]
            assert not errors, errors

    async def create(self, partitions: int = RAW.partitions) -> None:
        """Create the topic, as soon as its former self is gone."""

        async def is_created() -> bool:
            async with self._admin() as admin:
                topic = replace(RAW, name=self.name, partitions=partitions)
                return bool(await kafka_clients.create_topics(admin, [topic]))

        await until(is_created, f"topic {self.name} created")

    async def recreate(self, numbers: Iterable[int], partitions: int = RAW.partitions) -> None:
        """Put another log with these readings under the topic's name."""
        await self.delete()
        await self.create(partitions)
        await self.produce(numbers)

    async def add_partitions(self, total: int) -> None:
        async with self._admin() as admin:
            await admin.create_partitions({self.name: NewPartitions(total)})

    async def stored(self) -> set[int]:
        """The numbers of all rows, each of which stands once."""
        rows = await self.city.fetch("select device_id, time, co2_ppm from environmental_readings")
        numbers = [load.number((row["device_id"], row["time"], row["co2_ppm"])) for row in rows]
        assert len(numbers) == len(set(numbers)), "an identity is stored twice"
        return set(numbers)

    async def until_stored(self, numbers: Iterable[int]) -> None:
        """Wait until all these readings are rows."""
        wanted = set(numbers)

        async def are_there() -> bool:
            return wanted <= await self.stored()

        await until(are_there, f"{len(wanted)} readings stored")

    async def gaps(self, cause: str) -> set[tuple[int, int]]:
        """Generation and partition of each gap; all of them must have this cause."""
        gaps = (await self.city.balance())["gaps"]
        assert {gap["cause"] for gap in gaps} <= {cause}, gaps
        return {(gap["generation"], gap["partition"]) for gap in gaps}

    async def replaced_balance(self, generation: int = 0) -> dict[str, Any]:
        """The ledger after the whole log of a generation was replaced: it holds, with gaps."""
        balance = await self.city.balance()
        assert all(equation["holds"] for equation in balance["equations"]), balance
        sizes = [gap["next_offset"] for gap in balance["gaps"] if gap["generation"] == generation]
        assert sizes == [None] * RAW.partitions
        return balance

    async def ledger(self, *arguments: str) -> Result:
        """What `citytally ledger` says, and how it exits."""
        environment = {
            f"CITYTALLY_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
            for key, value in self.city.settings.model_dump(mode="json").items()
            if value is not None
        }
        command = ["ledger", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, app, command, env=environment)

    async def wants_acknowledgement(self) -> None:
        """`ledger --check` names every gap and exits 1, until a person has acknowledged them."""
        numbers = [gap["gap_id"] for gap in (await self.city.balance())["gaps"]]
        checked = await self.ledger("--check")
        assert checked.exit_code == 1, checked.output
        assert all(f"gap {number} is not acknowledged" in checked.output for number in numbers)
        done = await self.ledger("acknowledge", "--all", "--note", "a test of ours", "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)["acknowledged"]
        assert [gap["gap_id"] for gap in told] == numbers
        checked = await self.ledger("--check")
        assert checked.exit_code == 0, checked.output

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = kafka_clients.admin(self.city.settings, "test-topic")
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


async def wipe(kafka: KafkaServer) -> None:
    """A new cluster under the same address: every topic and group is gone."""
    await asyncio.to_thread(kafka.kill)
    shutil.rmtree(kafka.broker.log_directory)
    await asyncio.to_thread(kafka.broker.prepare)
    await asyncio.to_thread(kafka.start)


async def copy_cold(kafka: KafkaServer, aside: Path) -> None:
    """Keep what the broker holds now; it is stopped meanwhile."""
    await asyncio.to_thread(kafka.stop)
    subprocess.run(["cp", "-a", kafka.broker.log_directory, aside], check=True)
    await asyncio.to_thread(kafka.start)


async def restore_cold(kafka: KafkaServer, aside: Path) -> None:
    """Bring back what ``copy_cold`` kept: the same topics by id, with an older end."""
    await asyncio.to_thread(kafka.kill)
    shutil.rmtree(kafka.broker.log_directory)
    aside.rename(kafka.broker.log_directory)
    await asyncio.to_thread(kafka.start)
