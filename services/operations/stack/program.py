"""What it takes to run one process, whoever runs it: the supervisor, or a test."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Program:
    """One process: its command line, where and as whom it runs, and how it is asked to end.

    `user` is None for whoever starts it. Programs start in the order of their priority.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    user: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 30.0
    priority: int = 500


class ServerDescription(Protocol):
    """A server that can be started and asked whether it answers."""

    def program(self) -> Program:
        """The process to run, once the server is prepared."""
        ...

    def is_ready(self) -> bool:
        """True when it answers its own protocol, not merely when the port is open."""
        ...
