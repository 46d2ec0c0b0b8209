"""What a scenario is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.operations.drilling.result import Promise
from services.operations.drilling.run import Run


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of fault: what is done, which promises it proves, and the function that plays it."""

    name: str
    title: str
    promises: tuple[Promise, ...]
    play: Callable[[Run], Awaitable[None]]
    quick: bool = False
