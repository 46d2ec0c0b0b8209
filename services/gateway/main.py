"""``python -m services.gateway``: forwards until it is told to stop, then drains."""

import asyncio

import structlog
from prometheus_client import CollectorRegistry

from services.common import lifecycle, logs
from services.common.health import Health, HealthServer
from services.common.metrics import GatewayMetrics
from services.common.settings import Settings
from services.gateway.gateway import SIDES, Gateway, close_client, open_client
from services.gateway.readiness import Readiness

log = structlog.get_logger(__name__)

_TICK_S = 1.0


def main() -> int:
    """Run the gateway of the slot that the settings name; return the exit code."""
    settings = Settings()
    logs.configure(settings.gateway_slot)
    return lifecycle.run(lambda stop: serve(settings, stop))


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Forward until ``stop`` is set, with health and metrics on loopback; return the exit code."""
    health, registry = Health(), CollectorRegistry()
    readiness = Readiness(health, SIDES)
    metrics = GatewayMetrics(registry)
    with HealthServer(settings.gateway_health_port, health, registry):
        ticking = asyncio.create_task(_tick(health), name="tick")
        client = await open_client(settings, settings.gateway_slot, readiness, stop)
        if client is not None:
            gateway = Gateway(settings, settings.gateway_slot, client, readiness, metrics)
            lifecycle.freeze_garbage_collector()
            lifecycle.keep_freed_memory()
            try:
                await _forward_until(gateway, stop)
            finally:
                await close_client(client)
        ticking.cancel()
    return 0


async def _forward_until(gateway: Gateway, stop: asyncio.Event) -> None:
    running = asyncio.create_task(gateway.run(), name="gateway")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        in_flight = gateway.forwarder.in_flight
        drained = await gateway.drain()
        log.info("stopped", in_flight_at_stop=in_flight, drained=drained)
    stopping.cancel()
    if running.done():
        await running
    running.cancel()
    await asyncio.wait({running})


async def _tick(health: Health) -> None:
    while True:
        health.tick()
        await asyncio.sleep(_TICK_S)
