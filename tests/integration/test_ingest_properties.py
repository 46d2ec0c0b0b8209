"""P3, P4: whatever comes from Kafka is stored or refused, counted, and the same in any batches."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.common.kafka import partition_for
from services.ingest.devices import Devices
from services.ingest.record_columns import Record
from services.storage import balance
from tests.support.batches import RECEIVED, books
from tests.support.databases import Database
from tests.support.intake import GATEWAY_HEADERS, Intake, intake
from tests.support.payloads import ANYTHING, TOPICS, as_payload, native_objects, torn

PARTITIONS = 3
Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Arrived:
    """What comes from Kafka, before it has a place in a log."""

    topic: str
    payload: bytes
    headers: Headers = GATEWAY_HEADERS
    received_at: datetime = RECEIVED

    @property
    def partition(self) -> int:
        return partition_for(self.topic.encode("utf-8", "surrogatepass"), PARTITIONS)


KNOWN_TOPICS = st.builds(
    "citytally/v1/{}/{}".format,
    st.sampled_from(["environmental", "broadband", "traffic"]),
    st.sampled_from(["a", "sc-1", "stranger"]),
)
HEADERS = st.just(GATEWAY_HEADERS) | st.lists(
    st.tuples(st.sampled_from(["qos", "oversize", "refused", "dup", "x"]), st.binary(max_size=9)),
    max_size=6,
)
ANY_PAYLOAD = (
    st.binary(max_size=200)
    | st.builds(as_payload, ANYTHING)
    | st.builds(as_payload, native_objects("environmental"))
    | st.builds(as_payload, st.lists(native_objects("broadband"), max_size=4))
    | st.builds(as_payload, native_objects("traffic")).flatmap(torn)
)
ANYTHING_ARRIVED = st.builds(
    Arrived, TOPICS | KNOWN_TOPICS, ANY_PAYLOAD, HEADERS,
    st.sampled_from([RECEIVED, RECEIVED + timedelta(hours=1)]),
)  # fmt: skip

PLAIN_OR_NOT = st.builds(Arrived, KNOWN_TOPICS, ANY_PAYLOAD)

# Few identities and values, so that copies meet, agree, fill each other up and contradict.
READING = st.fixed_dictionaries(
    {"time": st.sampled_from(["2024-01-22T07:06:25Z", 1705907185000, "2024-01-22T09:00:00Z"])},
    optional={
        "part": st.sampled_from(["", "x", None, 7]),
        "temperature_c": st.sampled_from([20.5, 21, -999.0, 84.0, "warm"]),
        "co2_ppm": st.sampled_from([400.0, 401, 10**400, None]),
        "download_mbps": st.sampled_from([1.5, 2]),
        "tool": st.sampled_from(["ookla", "\0"]),
        "note": st.sampled_from(["n", "\0", 1]),
        "interval_s": st.sampled_from([60, 300.0]),
    },
)
MEETING = st.builds(
    Arrived, KNOWN_TOPICS,
    st.builds(as_payload, READING | st.lists(READING, max_size=4)) | st.just(b"{torn"),
)  # fmt: skip


Stored = tuple[dict[str, list[tuple[object, ...]]], dict[str, int]]


class Bench:
    """A database that takes one example after the other, and forgets each."""

    def __init__(self, runner: asyncio.Runner, hands: Intake) -> None:
        self._runner, self._hands = runner, hands

    def stored(self, arrived: Sequence[Arrived], cuts: set[int], *, known: bool) -> Stored:
        """What the database holds after the records came in batches that end at the cuts.

        ``known`` says whether ingest knows the registry before the first batch.
        """
        return self._runner.run(self._stored(arrived, cuts, known=known))

    async def _stored(self, arrived: Sequence[Arrived], cuts: set[int], *, known: bool) -> Stored:
        connection = self._hands.ingest
        hands = Intake(connection, self._hands.operate, devices=Devices("UTC"))
        forgotten = connection.transaction()
        await forgotten.start()
        try:
            if known:
                await hands.devices.refresh(connection)
            edges = [0, *sorted(cut for cut in cuts if cut < len(arrived)), len(arrived)]
            for start, end in itertools.pairwise(edges):
                await hands.store(_records(hands, arrived[start:end]))
            found = await balance._read(connection, None)
            assert found.balanced, found
            return await books(connection), found.messages
        finally:
            await forgotten.rollback()


def _records(hands: Intake, arrived: Sequence[Arrived]) -> dict[int, list[Record]]:
    records: dict[int, list[Record]] = {}
    for one in arrived:
        record = hands.record(
            (one.topic, one.payload), one.partition, received_at=one.received_at,
            headers=one.headers,
        )  # fmt: skip
        records.setdefault(one.partition, []).append(record)
    return records


@pytest.fixture
def bench(database: Database) -> Iterator[Bench]:
    with asyncio.Runner() as runner:
        opened = AsyncExitStack()
        hands = runner.run(opened.enter_async_context(intake(database)))
        runner.run(hands.register("a", "sc-1"))
        yield Bench(runner, hands)
        runner.run(opened.aclose())


bounded = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(bounded, max_examples=100)
@example(
    arrived=[
        Arrived("x", b"", [("oversize", b"\0\xff")]),
        Arrived("x\0", b"", [("refused", b"\0")]),
    ],
    known=True,
)
@given(arrived=st.lists(ANYTHING_ARRIVED, min_size=1, max_size=8), known=st.booleans())
def test_any_bytes_on_any_topic_are_accounted_for(
    bench: Bench, arrived: list[Arrived], *, known: bool
) -> None:
    _, messages = bench.stored(arrived, set(), known=known)

    assert messages["received"] == messages["decoded"] + messages["undecodable"] == len(arrived)


@settings(bounded, max_examples=50)
@given(
    arrived=st.lists(MEETING, min_size=2, max_size=10),
    cuts=st.sets(st.integers(1, 9)),
    known=st.booleans(),
)
def test_any_split_into_batches_gives_the_same_table_and_counts(
    bench: Bench, arrived: list[Arrived], cuts: set[int], *, known: bool
) -> None:
    whole = bench.stored(arrived, set(), known=True)

    assert bench.stored(arrived, cuts, known=known) == whole


@settings(bounded, max_examples=30)
@given(arrived=st.lists(MEETING | PLAIN_OR_NOT, min_size=1, max_size=8))
def test_plain_messages_are_read_alike_one_by_one(bench: Bench, arrived: list[Arrived]) -> None:
    whole = bench.stored(arrived, set(), known=True)
    # A header that nobody knows makes a message no plain one.
    singly = [Arrived(one.topic, one.payload, (*one.headers, ("x", b""))) for one in arrived]

    assert bench.stored(singly, set(), known=True) == whole
