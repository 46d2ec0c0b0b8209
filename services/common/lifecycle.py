"""How a service starts and ends: one event loop, one stop event, signals that mean it."""

import asyncio
import ctypes
import gc
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# The collector's first generation: with the default of 700 it runs on every few messages.
_COLLECT_EVERY = 50_000
_MIB = 1024 * 1024
_KEPT = {-1: 64 * _MIB, -2: 16 * _MIB, -3: 32 * _MIB}
"""glibc's M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD: how much may lie idle before it is
given back, how much is fetched at once, and from which size on memory comes and goes alone."""


def run(main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run a service's main coroutine under uvloop and return its exit code.

    1. The first SIGTERM or SIGINT sets the stop event that ``main`` was given: drain and return.
    2. A second signal ends the process at once, by the system's own default.
    3. An exception that escapes from a callback ends ``main`` and is raised, as its own would be.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_with_signals(main))


def freeze_garbage_collector() -> None:
    """Take what exists now out of garbage collection, and collect the rest less often.

    Called once a service is built: its objects live until it ends, and scanning them costs a
    fast loop up to a quarter of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, 20, 50)


def keep_freed_memory() -> None:
    """Let the allocator keep what is freed for the next to come, up to 64 MB.

    For a process in which buffers of a megabyte come and go: given back, and fetched anew, each of
    their pages is a fault in the kernel. Nothing happens where the allocator is not glibc's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _KEPT.items():
            mallopt(option, value)


async def _with_signals(main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_first_signal() -> None:
        for each in _SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        stop.set()

    for each in _SIGNALS:
        loop.add_signal_handler(each, on_first_signal)
    return await _unless_callback_fails(main(stop))


async def _unless_callback_fails(main: Awaitable[int]) -> int:
    task = asyncio.ensure_future(main)
    escaped: list[BaseException] = []

    def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        # Futures and transports report here too; only a callback's failure names its handle.
        if "handle" in context and "exception" in context:
            escaped.append(context["exception"])
            task.cancel()

    asyncio.get_running_loop().set_exception_handler(on_error)
    try:
        return await task
    except asyncio.CancelledError:
        if escaped:
            raise escaped[0] from None
        raise
