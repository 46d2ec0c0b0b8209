"""Under which conditions a figure was measured: machine, versions, settings."""

import hashlib
import os
import platform
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg

from services.common.settings import Settings
from services.operations.stack import kafka, mosquitto
from services.storage.queries import query

TRIAL_S = 0.5
LIBRARIES = ("aiokafka", "asyncpg", "paho-mqtt", "pydantic", "uvloop")
SETTINGS = (
    "batch_messages", "batch_wait_ms", "gateway_chunk_messages", "gateway_linger_ms",
    "gateway_in_flight_messages",
)  # fmt: skip


async def conditions(connection: asyncpg.Connection, settings: Settings) -> dict[str, Any]:
    """Return what a reader needs to compare a figure with another one."""
    durable = await connection.fetch(query("pool.durability"))
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": _revision(),
        "machine": {
            "cores": os.cpu_count(),
            "processor": _processor(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "load_before": os.getloadavg()[0],
        },
        "versions": {
            "python": platform.python_version(),
            "mosquitto": _mosquitto(),
            "kafka": kafka.VERSION,
            "postgresql": connection.get_server_version()[0],
            "timescaledb": await connection.fetchval(query("pool.timescaledb_version")),
            **{name: version(name) for name in LIBRARIES},
        },
        "settings": {name: getattr(settings, name) for name in SETTINGS},
        "durability": {"mqtt_qos": 1, "kafka_acks": "all"}
        | {row["name"]: row["setting"] for row in durable},
    }


def _mosquitto() -> str:
    """Return the broker's version, which its help begins with."""
    printed = subprocess.run(  # noqa: S603 -- the broker that the stack runs
        [mosquitto.binary(), "-h"], capture_output=True, text=True, check=False
    ).stdout
    return printed.partition("version")[2].split()[0]


def hashed_mb_per_s() -> float:
    """Return how many megabytes all cores together hash in a second, by half a second's trial.

    How fast the machine is at this moment: neighbours of a virtual machine slow it down without a
    trace in its own counters.
    """
    with ThreadPoolExecutor(os.cpu_count()) as at_once:
        began = time.perf_counter()
        hashed = list(at_once.map(_hash_for, [TRIAL_S] * (os.cpu_count() or 1)))
        return sum(hashed) / (time.perf_counter() - began) / 1e6


def _hash_for(seconds: float) -> int:
    """Hash, which lets go of the interpreter's lock, and return the bytes."""
    block, done = bytes(1_000_000), 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        hashlib.sha256(block).digest()
        done += len(block)
    return done


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _revision() -> str | None:
    """Return the revision that is measured, None outside of a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],  # noqa: S607 -- whichever git is there
            cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None
