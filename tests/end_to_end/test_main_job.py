"""P1 to P3: what was acknowledged over MQTT is a row exactly once, and the ledger proves it."""

import json
from datetime import UTC, datetime, timedelta

from tests.support.pipeline import Pipeline


def reading(device_id: str, time: datetime, **values: object) -> tuple[str, bytes]:
    payload = json.dumps({"time": time.isoformat(), **values}).encode()
    return f"citytally/v1/environmental/{device_id}", payload


async def test_a_reading_published_over_mqtt_is_one_row(city: Pipeline) -> None:
    await city.register("env-1", "env-2")
    city.gateway()
    city.ingest()
    now = datetime.now(UTC) - timedelta(minutes=10)
    messages = [
        reading(f"env-{1 + i % 2}", now + timedelta(seconds=i), temperature_c=20 + i / 10)
        for i in range(100)
    ]

    assert await city.publish(messages + messages[:10]) == 110
    await city.until_consumed(110)

    assert await city.fetchval("select count(*) from environmental_readings") == 100
    balance = await city.balance()
    assert balance["balanced"], balance
    assert balance["readings"]["written"] == 100
    assert balance["readings"]["duplicate"] == 10
