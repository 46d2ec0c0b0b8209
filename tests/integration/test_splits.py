"""Any split of one order of messages gives the same table and the same counts (P2, P3)."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.messages import Reading, Refusal
from services.storage.transactions import store
from services.storage.writing import Paths
from tests.support.batches import UNDECODABLE, Log, begin, books, connected, reading, refused
from tests.support.databases import Database

TABLES = (
    "broadband_readings", "consumed_offsets", "ledger_messages", "ledger_readings", "stored_rows",
    "ledger_quarantine", "quarantine_items", "quarantine_messages", "changed_hours",
    "reading_revisions", "batches",
)  # fmt: skip
Contents = list[Reading | Refusal]


@st.composite
def sound(draw: st.DrawFn) -> Reading:
    """A reading of one of two identities that fills, repeats, contradicts or can't be stored."""
    return reading(
        kind="broadband",
        minute=draw(st.sampled_from([0, 90])),
        values=draw(
            st.dictionaries(
                st.sampled_from(["download_mbps", "upload_mbps"]), st.sampled_from([1.0, 2.0])
            )
        ),
        texts=draw(st.dictionaries(st.just("tool"), st.sampled_from(["a", "b", "\0"]))),
        extra=draw(st.dictionaries(st.sampled_from("xy"), st.sampled_from([1, "\0"]))),
    )


contents = st.lists(
    st.one_of(sound(), sound(), sound(), st.just(refused()), st.just(UNDECODABLE)),
    min_size=2,
    max_size=7,
)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.long
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(messages=contents, cuts=st.sets(st.integers(1, 6)), staged=st.booleans())
def test_any_split_gives_the_same_table_and_counts(
    database: Database, runner: asyncio.Runner, messages: Contents, cuts: set[int], *, staged: bool
) -> None:
    whole = runner.run(stored(database, messages, set(), staged=False))

    assert runner.run(stored(database, messages, cuts, staged=staged)) == whole


async def stored(
    database: Database, messages: Contents, cuts: set[int], *, staged: bool
) -> dict[str, list[tuple[object, ...]]]:
    """What the database holds after the messages came in batches that end at the cuts."""
    log, paths = Log(), Paths()
    paths.staging["broadband"] = 100 if staged else 0
    edges = [0, *sorted(cut for cut in cuts if cut < len(messages)), len(messages)]
    async with connected(database) as connection:
        await connection.execute(";".join(f"delete from {table}" for table in TABLES))  # noqa: S608 # ours
        await begin(connection, log)
        for start, end in itertools.pairwise(edges):
            await store(connection, log.batch(*messages[start:end]), paths)
        return await books(connection)
