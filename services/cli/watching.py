"""Show everything live, for as long as somebody watches or for some seconds."""

import asyncio
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from rich.console import Console
from rich.live import Live

from services.cli.ledger import show as show_ledger
from services.cli.lines import addresses, lines
from services.cli.screen import WIDTH, screen
from services.cli.shown import console
from services.common.settings import Settings
from services.operations.accounting import account
from services.operations.local.running import Running
from services.operations.watching.draining import drain
from services.operations.watching.overview import Overview, Watcher

LOOK_EVERY_S = 1.0
PRINT_EVERY_S = 5.0
DRAIN_SECONDS = 300.0

Show = Callable[[Overview, str], None]
"""Shows one look, with a few words on what is going on."""


async def watch_until_told(settings: Settings) -> None:
    """Show everything until Ctrl-C or SIGTERM."""
    async with _watcher(settings) as watcher:
        with _shown() as show:
            await _watch(watcher, show, _signalled(), None, "Ctrl-C ends")


async def watch_for(running: Running, seconds: float) -> bool:
    """Show everything for so long, then let the pipeline run empty and hold the ledger up.

    1. watch, until time is over or somebody presses Ctrl-C;
    2. stop the simulator: nothing more is published;
    3. wait until all that is under way is stored;
    4. count everything again, and print it.

    Returns whether everything arrived and the ledger balances.
    """
    stop = _signalled()
    async with _watcher(running.layout.settings) as watcher:
        with _shown() as show:
            await _watch(watcher, show, stop, seconds, f"drains after {seconds:g} s")
            await asyncio.to_thread(running.stop_simulator)
            drained = await drain(
                watcher, DRAIN_SECONDS, lambda seen: show(seen, "draining: nothing more comes in")
            )
    return await _hold_up(running.layout.settings, drained=drained)


async def _watch(
    watcher: Watcher, show: Show, stop: asyncio.Event, seconds: float | None, hint: str
) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    while not stop.is_set() and (end is None or time.monotonic() < end):
        show(await watcher.look(), hint)
        rest = LOOK_EVERY_S if end is None else min(LOOK_EVERY_S, end - time.monotonic())
        try:
            await asyncio.wait_for(stop.wait(), max(rest, 0.0))
        except TimeoutError:
            continue


def _signalled() -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets; a second one ends us at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def on_first() -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
        stop.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, on_first)
    return stop


@asynccontextmanager
async def _watcher(settings: Settings) -> AsyncIterator[Watcher]:
    watcher = Watcher(settings)
    try:
        yield watcher
    finally:
        await watcher.close()


@contextmanager
def _shown() -> Iterator[Show]:
    here = Console()
    if here.is_terminal:
        with Live(console=here, screen=True, auto_refresh=False) as live:
            yield _on_screen(live)
    else:
        yield _in_lines(here)


def _on_screen(live: Live) -> Show:
    history: deque[float] = deque(maxlen=WIDTH)

    def show(seen: Overview, hint: str) -> None:
        history.append(seen.flow.in_per_s or 0.0)
        live.update(screen(seen, history, hint), refresh=True)

    return show


def _in_lines(console: Console) -> Show:
    printed: list[float] = []

    def show(seen: Overview, _hint: str) -> None:
        if printed and time.monotonic() - printed[-1] < PRINT_EVERY_S:
            return
        told = [] if printed else list(addresses(seen))
        printed[:] = [time.monotonic()]
        for line in (*told, *lines(seen)):
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    return show


async def _hold_up(settings: Settings, *, drained: bool) -> bool:
    stated = await account(settings)
    show_ledger(console(), stated, None)
    if not drained:
        console().print(f"✗ not all is stored after {DRAIN_SECONDS:.0f} s", style="red")
    return drained and stated.in_flight == 0 and stated.balance.balanced
