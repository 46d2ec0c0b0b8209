"""What a benchmark sends: messages of the native convention, made as they are needed.

Devices send in turn, so that with many devices every message of a batch is of another one. Each
run has a time base of its own: its readings are new to the database.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

Message = tuple[str, bytes]

INTERVAL_MS = 15_000
"""A device reports every fifteen seconds."""
READINGS_A_MESSAGE = 20
CHANNELS = ("pm2_5_ugm3", "pm10_ugm3", "temperature_c", "relative_humidity_pct", "pressure_hpa")
_READING = (
    b'{"time":%d,"pm2_5_ugm3":%d.%d,"pm10_ugm3":%d.5,"temperature_c":2%d.%d,'
    b'"relative_humidity_pct":%d.0,"pressure_hpa":10%02d.2}'
)
PREPARED_BYTES = 256 * 1024 * 1024
_MESSAGE_BYTES = 120
"""What a message takes in memory beside its payload; topics are shared."""
DUPLICATE_EVERY = 10
DUPLICATE_DISTANCE = 1000
"""How many messages later a duplicate comes: often in another batch."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load. ``rows`` and ``readings`` are what ``messages`` messages come to."""

    name: str
    title: str
    messages: int
    devices: int

    @property
    def readings(self) -> int:
        """Readings in all messages."""
        return self.messages * self._readings_a_message

    @property
    def _readings_a_message(self) -> int:
        return READINGS_A_MESSAGE if self.name == "batched" else 1

    @property
    def rows(self) -> int:
        """Rows that they come to."""
        if self.name == "merge":
            return self.messages // len(CHANNELS)
        if self.name == "duplicates":
            return sum(1 for n in range(self.messages) if not _repeats(n))
        return self.readings

    def stream(self, base_ms: int) -> Iterator[Message]:
        """Yield the messages of a run whose first reading is at ``base_ms`` (epoch)."""
        make = {"batched": _batched, "merge": _merge, "duplicates": _duplicates}
        return islice(make.get(self.name, _single)(self.devices, base_ms), self.messages)

    def span_ms(self) -> int:
        """How much event time a run takes up."""
        turns = self.messages // self.devices + 2
        return turns * self._readings_a_message * INTERVAL_MS


def prepared(messages: Iterator[Message]) -> Iterator[Message]:
    """Make messages now, up to a quarter of a gigabyte, and what is beyond when it is asked for.

    So that what is measured is publishing, and not the making of messages. A million single
    readings fit.
    """
    size, ready = 0, []
    for message in messages:
        ready.append(message)
        size += _MESSAGE_BYTES + len(message[1])
        if size > PREPARED_BYTES:
            break
    return chain(ready, messages)


def device_name(number: int) -> str:
    """Return the id of a benchmark's device."""
    return f"bench-{number:06d}"


def topic(number: int) -> str:
    """Return the topic on which it publishes."""
    return f"citytally/v1/environmental/{device_name(number)}"


def _reading(number: int, time_ms: int) -> bytes:
    """Make one reading of five channels, a little different each time."""
    wave = (number * 7 + time_ms // INTERVAL_MS) % 100
    return _READING % (
        time_ms, 5 + wave // 2, wave % 10, 12 + wave, wave % 9, wave % 10, 40 + wave // 2,
        wave % 30,
    )  # fmt: skip


def _single(devices: int, base_ms: int) -> Iterator[Message]:
    topics = [topic(number) for number in range(devices)]
    time_ms = base_ms
    while True:
        for number, name in enumerate(topics):
            yield name, _reading(number, time_ms)
        time_ms += INTERVAL_MS


def _batched(devices: int, base_ms: int) -> Iterator[Message]:
    topics = [topic(number) for number in range(devices)]
    time_ms = base_ms
    while True:
        times = range(time_ms, time_ms + READINGS_A_MESSAGE * INTERVAL_MS, INTERVAL_MS)
        for number, name in enumerate(topics):
            yield name, b"[" + b",".join([_reading(number, each) for each in times]) + b"]"
        time_ms += READINGS_A_MESSAGE * INTERVAL_MS


def _merge(devices: int, base_ms: int) -> Iterator[Message]:
    """One channel a message, as devices do that publish each value on its own."""
    topics = [topic(number) for number in range(devices)]
    time_ms = base_ms
    while True:
        for number, name in enumerate(topics):
            for channel in CHANNELS:
                yield name, b'{"time":%d,"%s":%d.5}' % (time_ms, channel.encode(), 20 + number % 9)
        time_ms += INTERVAL_MS


def _duplicates(devices: int, base_ms: int) -> Iterator[Message]:
    """Every tenth message is one that was sent a thousand messages before."""
    sent: list[Message] = []
    fresh = _single(devices, base_ms)
    n = 0
    while True:
        message = sent[n % DUPLICATE_DISTANCE] if _repeats(n) else next(fresh)
        if n < DUPLICATE_DISTANCE:
            sent.append(message)
        else:
            sent[n % DUPLICATE_DISTANCE] = message
        yield message
        n += 1


def _repeats(n: int) -> bool:
    return n >= DUPLICATE_DISTANCE and n % DUPLICATE_EVERY == 0


SCENARIOS = ("single", "batched", "backlog", "merge", "duplicates")

TITLES = {
    "single": "messages of one reading",
    "batched": f"messages of {READINGS_A_MESSAGE} readings",
    "backlog": "a cold backlog in Kafka, ingest alone",
    "merge": "one channel a message",
    "duplicates": "every tenth message sent twice",
}

DEVICES = (300, 10_000, 100_000)
"""A district, a city, and so many that every message of a batch is of another device."""
SHARES = {"batched": 0.25, "backlog": 5.0}
"""Messages of a run by scenario, as a multiple of the number asked for: each takes seconds."""


def scenario(name: str, messages: int, devices: int) -> Scenario:
    """Return a scenario of a size; ``messages`` is that of a run of single readings."""
    wanted = max(1, int(messages * SHARES.get(name, 1.0)))
    if name == "merge":
        wanted = max(1, wanted // len(CHANNELS)) * len(CHANNELS)
    return Scenario(name, TITLES[name], wanted, devices)
