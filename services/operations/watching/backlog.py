"""How many records Kafka holds that are no rows yet."""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.common import kafka
from services.common.settings import Settings

ANSWER_SECONDS = 5.0


class Backlog:
    """Asks Kafka for its log ends over one connection that is kept."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None

    async def lag(self, positions: Mapping[tuple[str, int], int]) -> int | None:
        """Return Kafka's ends minus our positions; None where Kafka does not answer."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                ends = await self._ends()
        except (KafkaError, OSError, TimeoutError):
            await self.close()
            return None
        topic = self._settings.raw_topic
        return sum(
            max(0, end - positions.get((topic, place.partition), 0)) for place, end in ends.items()
        )

    async def close(self) -> None:
        """Close the connection; the next question opens another."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _ends(self) -> dict[TopicPartition, int]:
        if self._consumer is None:
            self._consumer = kafka.consumer(self._settings, "citytally-watch", group=None)
            await self._consumer.start()
        topic = self._settings.raw_topic
        partitions = self._consumer.partitions_for_topic(topic)
        if partitions is None:
            # A question about a partition brings in the metadata of a topic nobody subscribed to;
            # `topics()` fills a set of its own and throws it away.
            await self._consumer.end_offsets([TopicPartition(topic, 0)])
            partitions = self._consumer.partitions_for_topic(topic) or set()
        places = [TopicPartition(topic, partition) for partition in partitions]
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(places)
        return ends
