"""Playing a recording: registered first, every reading published, told how far it came."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.registry import Deployment, Device, Site
from services.operations.replaying import sensor_community
from services.operations.replaying.pacing import Pace
from services.operations.replaying.play import replay
from services.operations.replaying.recording import Recording

HEADER = "sensor_id;sensor_type;location;lat;lon;timestamp;P1;P2\n"
START = datetime(2018, 10, 22, tzinfo=UTC)


class Broker:
    """Acknowledges what it is given, up to a limit; keeps what happened in order."""

    def __init__(self, limit: int | None = None) -> None:
        self.acknowledged = 0
        self.refused = 0
        self.happened: list[str] = []
        self.payloads: list[bytes] = []
        self.devices: list[Device] = []
        self._limit = limit

    async def publish(self, messages: Iterable[tuple[str, bytes]]) -> int:
        for topic, payload in messages:
            if self._limit is not None and self.acknowledged >= self._limit:
                await asyncio.Event().wait()
            self.happened.append(topic)
            self.payloads.append(payload)
            self.acknowledged += 1
        return 0

    async def drain(self, timeout_s: float | None = None) -> None:
        assert timeout_s is None or timeout_s > 0

    async def register(
        self,
        *,
        devices: Sequence[Device],
        sites: Sequence[Site],
        deployments: Sequence[Deployment],
    ) -> None:
        assert sites
        assert deployments
        self.happened.append("registered")
        self.devices.extend(devices)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Three readings a minute apart."""
    stamps = (START + timedelta(minutes=n) for n in range(3))
    rows = (f"1;SDS011;7;10;106;{at:%Y-%m-%dT%H:%M:%S};5;2\n" for at in stamps)
    path = tmp_path / "a.csv"
    path.write_text(HEADER + "".join(rows), encoding="utf-8")
    return sensor_community.read([path])


async def test_devices_are_registered_before_anything_is_published(recording: Recording) -> None:
    broker = Broker()
    played = await replay(recording, broker, broker.register)
    assert broker.happened == ["registered", *["citytally/v1/environmental/sc-7"] * 3]
    assert (played.published, played.acknowledged, played.complete) == (3, 3, True)


async def test_shifting_moves_every_stamp_and_data_from_alike(recording: Recording) -> None:
    broker = Broker()
    to = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
    await replay(recording, broker, broker.register, shift_to=to)
    assert broker.devices[0].data_from == to
    assert b'"time":"2026-01-01T00:00:30Z"' in broker.payloads[0]
    assert b'"time":"2026-01-01T00:02:30Z"' in broker.payloads[2]


async def test_stopped_it_says_how_far_it_came(recording: Recording) -> None:
    broker, stop = Broker(limit=2), asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)
    played = await replay(recording, broker, broker.register, pace=Pace(rate=50), stop=stop)
    assert played.interrupted
    assert not played.complete
    assert played.acknowledged == 2


async def test_a_rate_and_a_speed_hold_back(recording: Recording) -> None:
    loop = asyncio.get_running_loop()
    for pace, at_least_s in ((Pace(rate=20), 0.1), (Pace(speed=1200), 0.1)):
        started = loop.time()
        broker = Broker()
        await replay(recording, broker, broker.register, pace=pace)
        assert loop.time() - started >= at_least_s


def test_the_slower_of_rate_and_speed_decides() -> None:
    pace = Pace(rate=10, speed=60)
    assert pace.due_s(position=100, recorded_s=60) == 10
    assert pace.due_s(position=1, recorded_s=600) == 10
    assert Pace().due_s(position=100, recorded_s=60) == 0
