"""What services share, in the small: waiting, health, logs, metrics, partitions, signals."""

import json
import re
import signal
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from services.common import logs, metrics
from services.common.health import Health, HealthServer
from services.common.kafka import partition_for
from services.common.retries import Backoff


async def test_backoff_doubles_up_to_its_cap_and_begins_again() -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    backoff = Backoff(1.0, 5.0, sleep=sleep, draw=lambda: 1.0)
    for _ in range(5):
        await backoff.wait()
    backoff.reset()
    await backoff.wait()
    assert waited == [1.0, 2.0, 4.0, 5.0, 5.0, 1.0]


@given(draw=st.floats(0, 1), attempts=st.integers(0, 200))
def test_backoff_is_drawn_between_half_and_whole(draw: float, attempts: int) -> None:
    backoff = Backoff(0.1, 5.0, draw=lambda: draw)
    backoff.attempts = attempts
    assert 0.05 <= backoff.next_delay() <= 5.0


@given(key=st.binary(max_size=60), partitions=st.integers(1, 50))
def test_a_key_has_one_partition_whoever_asks(key: bytes, partitions: int) -> None:
    assert partition_for(key, partitions) == partition_for(bytes(key), partitions) < partitions


def test_partitions_are_spread_evenly_and_stay_what_they_were() -> None:
    """A gateway of another version must choose as this one does."""
    topics = [b"citytally/v1/environmental/bench-%06d" % number for number in range(12_000)]
    counts = Counter(partition_for(topic, 12) for topic in topics)

    assert all(900 < counts[partition] < 1100 for partition in range(12))
    assert [partition_for(key, 12) for key in (topics[0], topics[1], b"")] == [0, 6, 0]


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_is_served_with_its_reason() -> None:
    now = [100.0]
    health, registry = Health(alive_for_s=30, clock=lambda: now[0]), CollectorRegistry()
    metrics.GatewayMetrics(registry).forwarded.inc(7)
    with HealthServer(0, health, registry) as server:
        assert get(server.port, "/readyz") == (503, '{"ok": false, "reason": "starting"}')
        health.ready()
        assert get(server.port, "/readyz") == (200, '{"ok": true, "reason": null}')
        assert get(server.port, "/livez")[0] == 200
        now[0] += 31
        assert get(server.port, "/livez") == (
            503,
            '{"ok": false, "reason": "the main loop has not gone round for 31 s"}',
        )
        health.tick()
        assert get(server.port, "/livez")[0] == 200
        assert "citytally_gateway_forwarded_messages_total 7.0" in get(server.port, "/metrics")[1]
        assert get(server.port, "/elsewhere")[0] == 404


def test_who_waits_too_long_for_an_answer_is_not_ready() -> None:
    now = [0.0]
    health = Health(clock=lambda: now[0])
    health.ready()
    with health.waiting_for("the database"):
        now[0] += 4
        assert health.reason is None
        now[0] += 2
        assert health.reason == "waiting for the database for 6 s"
        health.not_ready("database: away")
        assert health.reason == "database: away"
    health.ready()
    assert health.reason is None


def test_metrics_are_named_after_their_service_with_their_unit_and_say_what_they_mean() -> None:
    declared = metrics.declared()
    assert len({each.name for each in declared}) == len(declared)
    for each in declared:
        assert re.fullmatch(r"citytally_(gateway|ingest|derive)_[a-z0-9_]+", each.name)
        assert each.meaning


def test_logs_hide_secrets() -> None:
    event = {"event": "connected", "mqtt_password": "hunter2", "user": "gateway"}
    assert logs.hide_secrets(None, "info", event) == {
        "event": "connected",
        "mqtt_password": "***",
        "user": "gateway",
    }


def run_service(body: str) -> subprocess.Popen[str]:
    program = textwrap.dedent(
        """
        import asyncio, sys
        from services.common import lifecycle, logs
        logs.configure("test")
        async def main(stop):
        {body}
        sys.exit(lifecycle.run(main))
        """
    ).format(body=textwrap.indent(textwrap.dedent(body), "    "))
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_line(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_and_the_exit_code_is_mains(number: signal.Signals) -> None:
    process = run_service("print('running', flush=True); await stop.wait(); return 3")
    wait_for_line(process)
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode == 3


def test_a_second_signal_ends_at_once() -> None:
    process = run_service(
        """
        print('running', flush=True)
        await stop.wait()
        print('running', flush=True)
        await asyncio.sleep(60)
        """
    )
    wait_for_line(process)
    process.terminate()
    wait_for_line(process)
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM


def test_an_exception_in_a_callback_ends_the_process() -> None:
    process = run_service(
        """
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(60)
        """
    )
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "ZeroDivisionError" in errors.splitlines()[-1]


def test_logs_are_json_lines_where_nobody_watches() -> None:
    process = run_service(
        """
        import logging, structlog
        structlog.get_logger("ours").warning("waits", secret_key="x")
        logging.getLogger("theirs").warning("hello %s", "there")
        return 0
        """
    )
    _, errors = process.communicate(timeout=10)
    lines = [json.loads(line) for line in errors.splitlines()]
    assert [(each["event"], each["service"], each["level"]) for each in lines] == [
        ("waits", "test", "warning"),
        ("hello there", "test", "warning"),
    ]
    assert lines[0]["secret_key"] == "***"  # noqa: S105 # the mask
