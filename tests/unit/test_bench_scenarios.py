"""What a benchmark sends adds up to what it says, and what it says of a run follows from counts."""

import json
from collections.abc import Iterable
from itertools import islice

import numpy as np
import psutil
import pytest

from services.operations.benchmarking import scenarios, watching
from services.operations.benchmarking.counting import Timeline
from services.operations.benchmarking.latency import latency
from services.operations.benchmarking.plotting import lag_over_time, rate_over_time
from services.operations.benchmarking.producing import headers
from services.operations.benchmarking.profiling import parts
from services.operations.benchmarking.scenarios import CHANNELS, SCENARIOS, scenario
from services.operations.benchmarking.suite import TimeBase, Wanted, estimate_s

BASE_MS = 1_700_000_000_000


@pytest.mark.parametrize("devices", [7, 300])
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_stream_comes_to_the_rows_and_readings_that_are_said(name: str, devices: int) -> None:
    each = scenario(name, 4_000, devices)
    messages = list(each.stream(BASE_MS))
    identities, readings = set(), 0
    for topic, payload in messages:
        content = json.loads(payload)
        for item in content if isinstance(content, list) else [content]:
            readings += 1
            identities.add((topic, item["time"]))

    assert len(messages) == each.messages
    assert (readings, len(identities)) == (each.readings, each.rows)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_base_gives_the_same_stream(name: str) -> None:
    each = scenario(name, 3_000, 11)
    assert list(each.stream(BASE_MS)) == list(each.stream(BASE_MS))


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_runs_share_no_identity(name: str) -> None:
    each, bases = scenario(name, 3_000, 11), TimeBase()
    first, second = ({*_identities(each.stream(bases.next(each)))} for _ in range(2))
    assert not first & second


def _identities(messages: Iterable[tuple[str, bytes]]) -> list[tuple[str, int]]:
    found = []
    for topic, payload in messages:
        content = json.loads(payload)
        of_message = content if isinstance(content, list) else [content]
        found += [(topic, item["time"]) for item in of_message]
    return found


def test_messages_are_made_before_as_far_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    each = scenario("single", 1_000, 11)
    stream = each.stream(BASE_MS)
    monkeypatch.setattr(scenarios, "PREPARED_BYTES", 50_000)

    messages = scenarios.prepared(stream)
    not_made = list(stream)

    assert 500 < len(not_made) < 900
    assert [*messages, *not_made] == list(each.stream(BASE_MS))


def test_with_many_devices_every_message_of_a_batch_is_of_another() -> None:
    topics = [topic for topic, _ in islice(scenario("single", 20_000, 100_000).stream(0), 20_000)]
    assert len(set(topics)) == 20_000


def test_messages_of_one_channel_carry_one_channel() -> None:
    payloads = [json.loads(payload) for _, payload in scenario("merge", 50, 2).stream(BASE_MS)]
    assert [set(each) - {"time"} for each in payloads[:5]] == [{name} for name in CHANNELS]


def test_a_backlog_carries_the_five_headers_of_a_gateway() -> None:
    assert headers(1234) == [
        ("slot", b"gateway-0"), ("gateway_time", b"1234"), ("qos", b"1"), ("retain", b"0"),
        ("dup", b"0"),
    ]  # fmt: skip


def test_the_steady_rate_leaves_out_the_start() -> None:
    timeline = Timeline([0.0, 1.0, 2.0, 3.0], [10, 20, 20, 20], [0, 5, 10, 20])
    assert (timeline.first_stored_s, timeline.steady_per_s) == (1.0, 7.5)
    assert Timeline().steady_per_s == 0.0


def test_rate_and_lag_over_time() -> None:
    timeline = {"seconds": [0.0, 1.0, 2.0], "sent": [0, 4000, 4000], "stored": [0, 1000, 4000]}
    assert rate_over_time(timeline, 1.0) == ([0.5, 1.5], [1.0, 3.0])
    assert lag_over_time(timeline) == ([0.0, 1.0, 2.0], [0.0, 3.0, 0.0])


def test_delays_are_from_when_a_message_was_due_to_when_its_batch_was_seen() -> None:
    due = np.zeros(100)
    found = latency(1_000.0, due, np.arange(1, 101) / 100)
    assert (found.messages, found.highest_s) == (100, 1.0)
    assert found.p50_s == pytest.approx(0.505)


def test_samples_count_for_the_innermost_function_of_ours_and_its_library() -> None:
    stacks = (
        "run (services/ingest/main.py:3);copy (asyncpg/connection.py:9) 60\n"
        "run (services/ingest/main.py:3);pack (/x/services/storage/packing.py:1) 40\n"
        "worker (concurrent/futures/thread.py:1) 500\n"
    )
    assert parts(stacks) == {"asyncpg in ingest.main.run": 0.6, "storage.packing.pack": 0.4}
    assert parts("") == {}


def test_the_estimate_grows_with_runs() -> None:
    several = [scenario(name, 200_000, 300) for name in SCENARIOS]
    once, often = (estimate_s(several, Wanted(runs, 1, latency=True)) for runs in (1, 5))
    assert 60 < once < often


def test_noise_is_what_was_neither_idle_nor_ours() -> None:
    before = psutil.cpu_times()
    fields = dict.fromkeys(before._fields, 0.0) | {"idle": 5.0, "user": 4.0, "steal": 1.0}
    now = before._replace(**{name: getattr(before, name) + s for name, s in fields.items()})

    noise = watching._noise(before, now, ours_s=3.0)

    assert [noise.others, noise.stolen] == pytest.approx([0.1, 0.1])
