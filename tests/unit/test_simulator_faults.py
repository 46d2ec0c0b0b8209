"""Faults of the simulator: what it says that it injected is what the ledger would count."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.messages import Decoded, Message, Undecodable
from schemas.reasons import Reason
from services.decoding.detect import decode
from services.simulator.city import city
from services.simulator.faults import NO_FAULTS, Fault, Rates
from services.simulator.history import HOUR_MS, Gap, History
from services.simulator.live import Live
from services.simulator.sending import Sending
from services.simulator.simulation import Plan, Simulated, Simulation, continued
from services.simulator.state import AlreadyRunningError, State, StateFile, UnreadableStateError

NOW_MS = 1_762_128_000_123
OFTEN = Rates(0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
Message_ = tuple[str, bytes]


class Broker:
    """Acknowledges everything at once, or nothing."""

    def __init__(self, *, away: bool = False) -> None:
        self.acknowledged = 0
        self.refused = 0
        self.messages: list[Message_] = []
        self._away = away

    async def publish(self, messages: Iterable[Message_]) -> int:
        if self._away:
            await asyncio.Event().wait()
        self.messages.extend(messages)
        self.acknowledged = len(self.messages)
        return 0

    async def drain(self, timeout_s: float | None = None) -> None:
        assert timeout_s is None


class Books:
    """What a ledger would say of messages, kept by the real decoder and a dictionary."""

    def __init__(self, messages: Iterable[Message_]) -> None:
        self.count: Counter[str] = Counter()
        self.rows: dict[tuple[str, int], dict[str, float]] = {}
        self.order: list[tuple[str, int]] = []
        for topic, payload in messages:
            self.count["messages"] += 1
            self._take(decode(Message(topic=topic, payload=payload)))

    def _take(self, result: object) -> None:
        if isinstance(result, Undecodable):
            assert result.refusal.reason is Reason.MALFORMED
            self.count["malformed"] += 1
            return
        assert isinstance(result, Decoded)
        for reading in result.readings:
            assert reading.refusal is None
            assert reading.time is not None
            assert reading.extra == {"simulated": True} or reading.extra is None
            self._book(reading.device_id, round(reading.time.timestamp() * 1000), reading.values)

    def _book(self, device_id: str, time_ms: int, values: dict[str, float]) -> None:
        key = device_id, time_ms
        self.order.append(key)
        if time_ms > NOW_MS + 24 * HOUR_MS:
            self.count["future_time"] += 1
        elif key in self.rows:
            assert self.rows[key] == values, "a conflict"
            self.count["duplicate"] += 1
        else:
            self.rows[key] = values
            self.count["written"] += 1

    def sentinels(self) -> int:
        return sum(-999.0 in values.values() for values in self.rows.values())


async def run(
    folder: Path, plan: Plan, now_ms: int, broker: Broker | None = None
) -> tuple[Simulated, list[Message_]]:
    """Run a city at a standing clock for some steps."""
    broker, stop = broker or Broker(), asyncio.Event()
    state_file = StateFile(folder, plan.seed)
    simulation = Simulation(plan, broker, state_file, clock=lambda: now_ms / 1000)
    asyncio.get_running_loop().call_later(0.3, stop.set)
    return await simulation.run(stop), broker.messages


async def test_the_injected_counts_are_what_the_books_say(tmp_path: Path) -> None:
    plan = Plan(devices=60, history_days=1, history_rate=2_000, rates=OFTEN)
    _first, before = await run(tmp_path, plan, NOW_MS)
    simulated, messages = await run(tmp_path, plan, NOW_MS + 9 * 60_000)
    expected = simulated.total.expected()
    books = Books([*before, *messages])
    assert simulated.complete
    assert books.count == {
        "messages": expected.messages,
        "written": expected.written,
        "duplicate": expected.duplicate,
        "future_time": expected.future_time,
        "malformed": expected.malformed,
    }
    # One that a duplicate repeats is one sentinel of one row.
    assert books.sentinels() == simulated.total.counts[Fault.SENTINEL]
    assert all(simulated.total.counts[fault] for fault in Fault)
    assert sum(Books(messages).count.values()) > 0


async def test_restarts_leave_nothing_out_and_repeat_nothing(tmp_path: Path) -> None:
    plan = Plan(devices=20, history_days=0.25, history_rate=8_000, rates=NO_FAULTS)
    messages: list[Message_] = []
    now_ms, end_ms = NOW_MS, NOW_MS
    for away_ms in (0, 5 * 60_000, 3 * HOUR_MS, 60_000, 0):
        now_ms += away_ms
        simulated, sent = await run(tmp_path, plan, now_ms)
        messages += sent
        end_ms = now_ms
    books = Books(messages)
    begins_ms = (NOW_MS - 6 * HOUR_MS) // HOUR_MS * HOUR_MS
    due = {
        (device.device_id, time_ms)
        for device in city(1, 20)
        for time_ms in device.times_ms(begins_ms, end_ms)
    }
    assert not simulated.history_left
    assert set(books.rows) == due
    assert books.count["duplicate"] == 0


async def test_the_result_also_stands_in_the_state_directory(tmp_path: Path) -> None:
    plan = Plan(devices=20, history_days=0.1, rates=OFTEN)
    simulated, _messages = await run(tmp_path, plan, NOW_MS)
    kept = json.loads((tmp_path / "city-1.json").read_text())
    assert kept["expected"] == simulated.as_json()["expected"]


async def test_a_broker_that_is_away_does_not_hold_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.simulator.simulation._FINISH_S", 0.1)
    plan = Plan(devices=20, history_days=0.1)
    simulated, _messages = await run(tmp_path, plan, NOW_MS, Broker(away=True))
    assert not simulated.complete
    assert simulated.run.counts == {}


def sent_live(rates: Rates, minutes: int = 60) -> list[Sending]:
    live = Live(city(1, 40), rates, NOW_MS)
    steps = range(NOW_MS, NOW_MS + minutes * 60_000, 250)
    return [sending for now_ms in steps for sending in live.until(now_ms)]


@pytest.mark.parametrize("fault", [Fault.LATE, Fault.OUT_OF_ORDER])
def test_what_is_held_back_comes_after_the_next_reading(fault: Fault) -> None:
    sendings = sent_live(replace(NO_FAULTS, **{fault.value: 0.05}))
    order = Books((sending.topic, sending.payload) for sending in sendings).order
    newest: dict[str, int] = {}
    behind = 0
    for device_id, time_ms in order:
        behind += time_ms < newest.get(device_id, 0)
        newest[device_id] = max(time_ms, newest.get(device_id, 0))
    injected = sum((sending.counts for sending in sendings), Counter[str]())[fault]
    assert behind > 0
    # Probes report every half hour, so a late test may still come before the next one.
    assert 0.9 * injected <= behind <= injected


def test_a_silent_device_says_nothing_for_an_hour() -> None:
    live = Live(city(1, 40), replace(NO_FAULTS, silent=1.0), NOW_MS)
    assert not list(live.until(NOW_MS + HOUR_MS))
    assert live.silenced[Fault.SILENT] > 0


def test_a_stuck_sensor_repeats_itself_for_an_hour() -> None:
    device = city(1, 1)[0]
    hour_ms = NOW_MS // HOUR_MS * HOUR_MS + device.lag_ms
    gap = Gap(hour_ms, hour_ms + HOUR_MS)
    (sending, *_rest) = History([device], replace(NO_FAULTS, stuck=1.0), [gap]).sendings(1000)
    books = Books([(sending.topic, sending.payload)])
    assert len({str(values) for values in books.rows.values()}) == 1
    assert sending.counts[Fault.STUCK] == len(books.rows) > 50


def test_history_comes_newest_hour_first_in_messages_that_fit() -> None:
    devices = city(1, 3, rate_factor=50)
    gap = Gap(NOW_MS - 2 * HOUR_MS, NOW_MS)
    sendings = list(History(devices, NO_FAULTS, [gap]).sendings(1_000_000))
    order = Books((sending.topic, sending.payload) for sending in sendings).order
    assert max(len(sending.payload) for sending in sendings) < 200 * 1024
    assert order[0][1] > order[-1][1]


def test_after_a_long_absence_no_more_than_the_history_is_filled() -> None:
    state = State(history_from_ms=0, live_until_ms=0)
    begun = continued(Plan(history_days=1), state, NOW_MS)
    assert begun.gaps == [Gap(NOW_MS - 24 * HOUR_MS, NOW_MS)]
    assert begun.live_until_ms == NOW_MS


def test_one_city_is_simulated_once(tmp_path: Path) -> None:
    with (
        StateFile(tmp_path, 1).locked(),
        pytest.raises(AlreadyRunningError, match="another seed"),
        StateFile(tmp_path, 1).locked(),
    ):
        pass


def test_a_damaged_state_file_is_named(tmp_path: Path) -> None:
    state_file = StateFile(tmp_path, 1)
    state_file.path.write_text("{}")
    with pytest.raises(UnreadableStateError, match=r"city-1\.json"):
        state_file.load()


@pytest.mark.parametrize("wrong", [{"late": -0.1}, {"late": 0.6, "future": 0.6}])
def test_rates_that_are_no_shares_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Rates(**wrong)
