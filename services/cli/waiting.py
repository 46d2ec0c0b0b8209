"""That something is under way, for what takes more than a moment."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show a few words until it is done; on a terminal only, as standard error."""
    with Console(stderr=True).status(what):
        yield


class Steps:
    """One line a step, with the seconds that it took; the one under way turns on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Show a step from entering to leaving."""
        began = time.monotonic()
        with self._console.status(f"{name} …"):
            yield
        seconds = time.monotonic() - began
        self._console.print(
            f"[green]✓[/green] {name:<36} [dim]{seconds:5.1f} s[/dim]", highlight=False
        )
