"""What processes cost while a run lasts: CPU time, and memory as it went."""

import contextlib
import itertools
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import psutil

SAMPLE_S = 0.5
FAMILIES_EVERY = 4
"""Samples after which new children are looked for."""

Family = list[psutil.Process]
"""A process, first, and its children with theirs."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One process with its children: CPU seconds, and resident memory in bytes over the run.

    ``rss_early`` is the median of its second quarter (after warm-up), ``rss_late`` of its last.
    """

    cpu_s: float
    rss_early: int
    rss_late: int
    rss_peak: int


@dataclass(frozen=True, slots=True)
class Noise:
    """What else took of all cores while a run lasted, as shares of 0 to 1.

    ``others`` is other processes and the kernel's own work, ``stolen`` the hypervisor.
    """

    others: float = 0.0
    stolen: float = 0.0


@dataclass
class Watch:
    """Watches processes from entering to leaving its context; ``costs`` tells afterwards.

    Pages that a server's processes share are counted once.
    """

    pids: Mapping[str, int]
    costs: dict[str, Cost] = field(default_factory=dict)
    noise: Noise = field(default_factory=Noise)

    def __enter__(self) -> Self:
        self._machine_before = psutil.cpu_times()
        self._before = self._cpu_s()
        self._memory: dict[str, list[int]] = {name: [] for name in self.pids}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for name, cpu_s in self._cpu_s().items():
            self.costs[name] = _cost(cpu_s - self._before[name], self._memory[name])
        ours_s = sum(cost.cpu_s for cost in self.costs.values())
        self.noise = _noise(self._machine_before, psutil.cpu_times(), ours_s)

    def _cpu_s(self) -> dict[str, float]:
        families = _families(self.pids.values())
        return {name: _cpu_s(families[pid]) for name, pid in self.pids.items()}

    def _sample(self) -> None:
        families: dict[int, Family] = {}
        for n in itertools.count():
            if n % FAMILIES_EVERY == 0:
                families = _families(self.pids.values())
            for name, pid in self.pids.items():
                self._memory[name].append(_resident(families[pid]))
            if self._stop.wait(SAMPLE_S):
                return


def _families(pids: Iterable[int]) -> dict[int, Family]:
    """Each process with its children; of our own, only itself: the servers are children of ours.

    From one look at the table of all processes, which costs milliseconds of what is measured.
    """
    children: dict[int, Family] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):  # ended since it was listed
            children.setdefault(process.ppid(), []).append(process)
    return {pid: _family(pid, children) for pid in pids}


def _family(pid: int, children: Mapping[int, Family]) -> Family:
    try:
        found = [psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return []
    if pid != os.getpid():
        for each in found:  # grows as it goes
            found += children.get(each.pid, [])
    return found


def _cpu_s(family: Family) -> float:
    """CPU seconds of a process, its children, and those of them that have ended."""
    total = 0.0
    for n, process in enumerate(family):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # ended between the list and the question
        total += times.user + times.system
        if n == 0 and process.pid != os.getpid():
            total += times.children_user + times.children_system
    return total


def resident(pid: int) -> int:
    """Return resident bytes of a process and its children; what they share counts once."""
    return _resident(_families([pid])[pid])


def _resident(family: Family) -> int:
    """From statm, which costs microseconds: exact shares (smaps) of a database cost a core."""
    own, shared = 0, 0
    for process in family:
        try:
            memory = process.memory_info()
        except psutil.NoSuchProcess:
            continue  # ended between the list and the question
        own += memory.rss - memory.shared
        shared = max(shared, memory.shared)
    return own + shared


def _noise(before: Any, now: Any, ours_s: float) -> Noise:  # noqa: ANN401 -- psutil's, by platform
    spent = {name: getattr(now, name) - getattr(before, name) for name in now._fields}
    # guest time is within user time already
    whole = sum(s for name, s in spent.items() if not name.startswith("guest"))
    idle, stolen = spent["idle"] + spent.get("iowait", 0.0), spent.get("steal", 0.0)
    if whole <= 0:
        return Noise()
    return Noise(max(0.0, whole - idle - stolen - ours_s) / whole, stolen / whole)


def _cost(cpu_s: float, memory: list[int]) -> Cost:
    if not memory:
        return Cost(cpu_s, 0, 0, 0)
    quarter = max(1, len(memory) // 4)
    early = sorted(memory[quarter : 2 * quarter] or memory)
    late = sorted(memory[-quarter:])
    return Cost(cpu_s, early[len(early) // 2], late[len(late) // 2], max(memory))
