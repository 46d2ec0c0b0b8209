"""How far something came: a bar on a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

_LINE_EVERY_S = 5.0


class Progress(Protocol):
    """Something that shows how many are done, and a few words beside."""

    def advance_to(self, done: int, words: str = "") -> None:
        """Show that ``done`` are done by now."""
        ...


@contextmanager
def shown(title: str, total: int) -> Iterator[Progress]:
    """Show progress on standard error, so that standard output stays a program's to read."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(title, total, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Bar(*columns, console=console) as bar:
        yield _Bar(bar, title, total)


class _Bar:
    def __init__(self, bar: Bar, title: str, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=total, words="")

    def advance_to(self, done: int, words: str = "") -> None:
        self._bar.update(self._task, completed=done, words=words)


class _Lines:
    def __init__(self, title: str, total: int, console: Console) -> None:
        self._title, self._total, self._console = title, total, console
        self._next = time.monotonic() + _LINE_EVERY_S

    def advance_to(self, done: int, words: str = "") -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LINE_EVERY_S
        self._console.print(f"{self._title}: {done} of {self._total} {words}", highlight=False)
