"""Clocks that are wrong, both ways: a device's judges its readings, a gateway's judges nothing."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from schemas.reasons import Reason
from services.common import kafka
from services.operations.drilling import questions
from services.operations.drilling.readings import Row, Sent, as_message, reading, refused
from services.operations.drilling.result import Promise
from services.operations.drilling.run import Run
from services.operations.drilling.scenario import Scenario

P1, P3, P4, P6 = Promise.P1, Promise.P3, Promise.P4, Promise.P6
OFF = timedelta(days=2)
SLACK = timedelta(seconds=2)
DEVICE = "drill-01"


async def device_clocks(run: Run) -> None:
    """A device ahead is refused, one behind keeps its time, one before its registration is not."""
    run.exactly_once = True
    n = max(10, run.messages // 20)
    now = datetime.now(UTC)
    late = _rows(now - timedelta(days=30), n)
    run.say(f"{n} readings from an hour ahead, {n} from a month ago, {n} from two years ago")
    await run.publish([
        *_refused(Reason.FUTURE_TIME, now + timedelta(hours=1), n),
        *[as_message(row) for row in late],
        *_refused(Reason.TOO_OLD, now - timedelta(days=730), n),
        *run.readings(n),
    ])  # fmt: skip
    await run.settle()
    kept = (await _receipts(run)).keys() & set(late)
    run.found(P6, len(kept) == n, f"{len(kept)} of {n} late readings stand at their own time")


def _rows(start: datetime, n: int) -> list[Row]:
    return [Row(DEVICE, start + timedelta(seconds=second), 400.0) for second in range(n)]


def _refused(reason: Reason, start: datetime, n: int) -> list[Sent]:
    return [
        refused(reason, reading(time=row.time.isoformat(), co2_ppm=row.value), DEVICE)
        for row in _rows(start, n)
    ]


async def gateway_clock(run: Run) -> None:
    """Play a gateway whose clock is days off: Kafka's clock counts, nothing is judged by it."""
    half = run.messages // 2
    run.say("a gateway two days behind, then one two days ahead, hand records to Kafka")
    rows: set[Row] = set()
    for off in (-OFF, OFF):
        sent = run.readings(half)
        await _produce(run, sent, off)
        rows |= {each.becomes for each in sent if isinstance(each.becomes, Row)}
    run.must_be_stored(rows)
    await run.settle()
    _judge_receipts(run, rows, await _receipts(run))


async def _receipts(run: Run) -> dict[Row, datetime]:
    return {
        Row(row["device_id"], row["time"], row["co2_ppm"]): row["received_at"]
        for row in await questions.rows(run.stage)
    }


def _judge_receipts(run: Run, rows: set[Row], receipts: dict[Row, datetime]) -> None:
    earliest, latest = run.began_at - SLACK, datetime.now(UTC) + SLACK
    wrong = [row for row in rows & receipts.keys() if not earliest <= receipts[row] <= latest]
    says = f"{len(wrong)} of {len(rows)} readings were received by another clock than Kafka's"
    run.found(Promise.P6, not wrong, says)


async def _produce(run: Run, messages: Sequence[Sent], off: timedelta) -> None:
    """Hand records to Kafka as a gateway does, stamped by a clock that is off by so much."""
    settings = run.stage.settings
    stamp = int((time.time() + off.total_seconds()) * 1000)
    headers = [("slot", b"drill"), ("gateway_time", str(stamp).encode()), ("qos", b"1"),
               ("retain", b"0"), ("dup", b"0")]  # fmt: skip
    producer = kafka.producer(settings, "citytally-drill")
    await producer.start()
    try:
        partitions = len(await producer.partitions_for(settings.raw_topic))
        for _, (topic, payload) in messages:
            key = topic.encode()
            await producer.send(
                settings.raw_topic, payload, key=key, timestamp_ms=stamp, headers=headers,
                partition=kafka.partition_for(key, partitions),
            )  # fmt: skip
        await producer.flush()
    finally:
        await producer.stop()


SCENARIOS = (
    Scenario(
        "device-clocks", "devices whose clocks are wrong, ahead and behind", (P3, P4, P6),
        device_clocks, quick=True,
    ),
    Scenario(
        "gateway-clock", "a gateway whose clock is wrong, ahead and behind", (P1, P3, P6),
        gateway_clock,
    ),
)  # fmt: skip
