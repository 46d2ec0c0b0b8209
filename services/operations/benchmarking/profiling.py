"""Where gateway and ingest spend their time, sampled by py-spy while single readings flow.

A sampler beside the processes, since one inside makes calls dearer than work. A sample is counted
for the innermost function of ours in the stack, and for the library that it was in, if any: what C
code does counts for who called it. Servers are not looked into; their whole cost stands beside.
"""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from services.common.settings import Settings
from services.operations.benchmarking.counting import BenchError
from services.operations.benchmarking.running import Run, measure, register_devices
from services.operations.benchmarking.scenarios import Scenario, scenario
from services.operations.benchmarking.suite import (
    WARM_UP_MESSAGES,
    Shown,
    TimeBase,
    describe,
    measured_city,
)
from services.operations.local.scratch import Scratch

PROCESSES = ("gateway-0", "ingest-0")
SAMPLES_A_SECOND = 200
SMALLEST_SHARE = 0.01
"""Parts below it are told as one."""
_ATTACH_S, _WRITE_S = 1.0, 20.0
_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>.*?)(?::\d+)?\)$")
_LIBRARY = re.compile(r"(?:site-packages/|python3\.\d+/|^)([A-Za-z_]\w*)")


def profile(settings: Settings, each: Scenario, shown: Shown) -> dict[str, Any]:
    """Return conditions, the rate while samples were taken, and the parts of each process."""
    sampler = _sampler()
    with measured_city(settings) as city:
        described = asyncio.run(describe(city))
        run, stacks = asyncio.run(_sampled(city, each, sampler, shown))
    return {
        "conditions": described, "devices": each.devices, "per_s": run.per_s,
        "processes": [_process(name, run, stacks.get(name, "")) for name in run.costs],
    }  # fmt: skip


def parts(stacks: str) -> dict[str, float]:
    """Return shares by part, the largest first, from collapsed stacks (``a;b;c count``).

    Stacks without a function of ours are left out: threads of libraries, which wait.
    """
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, n = line.rpartition(" ")
        if part := _part(stack.split(";")):
            counts[part] += int(n)
    if not counts:
        return {}
    total = counts.total()
    shares = {name: n / total for name, n in counts.most_common()}
    large = {name: share for name, share in shares.items() if share >= SMALLEST_SHARE}
    rest = 1.0 - sum(large.values())
    return large | ({"all else": rest} if rest > SMALLEST_SHARE / 10 else {})


def _part(stack: Iterable[str]) -> str:
    """Name the innermost frame of ours and, if the stack goes deeper, the library it ends in.

    Empty where no frame is ours.
    """
    ours, library = "", ""
    for frame in stack:
        found = _FRAME.match(frame)
        if found is None:
            continue
        file = found["file"]
        if (at := file.find("services/")) >= 0:
            module = file[at + len("services/") :].removesuffix(".py").replace("/", ".")
            ours, library = f"{module}.{found['function']}", ""
        else:
            named = _LIBRARY.search(file)
            library = named[1] if named else file
    if not ours:
        return ""
    return f"{library} in {ours}" if library else ours


def _process(name: str, run: Run, stacks: str) -> dict[str, Any]:
    cpu_us = run.costs[name].cpu_s / run.messages * 1e6
    return {
        "name": name,
        "cpu_us_per_message": cpu_us,
        "parts": [
            {"name": part, "share": share, "us_per_message": share * cpu_us}
            for part, share in parts(stacks).items()
        ],
    }


async def _sampled(
    city: Scratch, each: Scenario, sampler: str, shown: Shown
) -> tuple[Run, dict[str, str]]:
    await register_devices(city.settings, each.devices)
    bases, warm_up = TimeBase(), scenario("single", WARM_UP_MESSAGES, each.devices)
    with shown("warm-up", warm_up.messages) as progress:
        await measure(city, warm_up, bases.next(warm_up), progress)
    with tempfile.TemporaryDirectory(prefix="citytally-profile-") as folder:
        files = {name: Path(folder) / name for name in PROCESSES}
        with ExitStack() as sampling, shown("sampled", each.messages) as progress:
            for name, file in files.items():
                sampling.enter_context(_sampling(sampler, city.processes[name].pid, file))
            await asyncio.sleep(_ATTACH_S)
            run = await measure(city, each, bases.next(each), progress)
        return run, {name: file.read_text(encoding="utf-8") for name, file in files.items()}


@contextmanager
def _sampling(sampler: str, pid: int, file: Path) -> Iterator[None]:
    """Sample a process while the context is open. Raises ``BenchError`` where it may not be."""
    command = [
        sampler, "record", "--pid", str(pid), "--rate", str(SAMPLES_A_SECOND), "--format", "raw",
        "--duration", "86400", "--output", str(file),
    ]  # fmt: skip
    process = subprocess.Popen(  # noqa: S603 -- built above
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)  # which makes it write
        _, said = process.communicate(timeout=_WRITE_S)
    if not file.exists():
        raise BenchError(f"py-spy could not sample process {pid}: {said.strip()[-500:]}")


def _sampler() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise BenchError("no py-spy: `pip install 'citytally[bench]'` brings it")
    return found
