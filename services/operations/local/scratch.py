"""A city for an hour: servers and services of its own on free ports, gone when the context ends.

For measuring and drilling: nothing of the city that runs beside it is touched.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from services.common.settings import PREFIX, Settings
from services.operations.local import preparing
from services.operations.local.layout import Layout, layout
from services.operations.local.readiness import ask, reason_of
from services.operations.stack.ports import LOOPBACK, free_port, is_free
from services.operations.stack.program import Program
from services.operations.stack.server import Server

SERVERS = ("mosquitto", "kafka", "postgresql")
_NAME_SETTINGS = {"gateway": "GATEWAY_SLOT", "ingest": "INGEST_NAME"}


@dataclass(frozen=True, slots=True)
class ServiceDescription:
    """A gateway or ingest process of a layout, or one more of the kind, as a server to be started.

    ``changes`` are environment variables that only this process has.
    """

    layout: Layout
    name: str
    health_port: int
    changes: Mapping[str, str] = field(default_factory=dict)

    def program(self) -> Program:
        """The process to run, in a folder of its own, where its log stands beside it."""
        kind, _, _ = self.name.partition("-")
        found = {program.name: program for program in self.layout.service_programs()}
        like = found.get(self.name, found[f"{kind}-0"])
        directory = self.layout.state_directory / self.name
        directory.mkdir(exist_ok=True)
        own = {
            PREFIX + _NAME_SETTINGS[kind]: self.name,
            f"{PREFIX}{kind.upper()}_HEALTH_PORT": str(self.health_port),
        }
        environment = {**like.environment, **own, **self.changes}
        return replace(like, name=self.name, directory=directory, environment=environment)

    def is_ready(self) -> bool:
        """Whether its ``/readyz`` says so."""
        return self.reason_not_ready() is None

    def reason_not_ready(self) -> str | None:
        """Why it is not ready, by its ``/readyz``; None when it is."""
        return reason_of(ask(self.health_port, "/readyz"))


@dataclass
class Scratch:
    """A running scratch city: its settings, and every process by name."""

    layout: Layout
    processes: dict[str, Server] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The settings by which its parts find each other."""
        return self.layout.settings

    def start_service(self, name: str, changes: Mapping[str, str] | None = None) -> Server:
        """Start ``gateway-N`` or ``ingest-N`` and wait until it is ready."""
        server = self.launch_service(name, changes)
        server.wait_ready()
        return server

    def launch_service(self, name: str, changes: Mapping[str, str] | None = None) -> Server:
        """Start a service and return at once."""
        port = self.layout.health_ports().get(name) or free_port()
        server = Server(ServiceDescription(self.layout, name, port, changes or {}))
        self.processes[name] = server
        server.launch()
        return server

    def end(self) -> None:
        """End everything at once, services first."""
        for server in reversed(self.processes.values()):
            server.end()

    def _start_servers(self) -> None:
        preparing.make_secrets(self.settings)
        preparing.prepare_servers(self.layout)
        descriptions = self.layout.servers()
        self.processes |= {name: Server(descriptions[name]) for name in SERVERS}
        for name in SERVERS:
            self.processes[name].launch()
        with ThreadPoolExecutor() as at_once:
            list(at_once.map(Server.wait_ready, self.processes.values()))


@contextmanager
def scratch_city(settings: Settings) -> Iterator[Scratch]:
    """Start servers, schema and topics; no service yet. Everything is gone afterwards."""
    with ExitStack() as ending:
        folder = Path(tempfile.mkdtemp(prefix="citytally-scratch-"))
        ending.callback(shutil.rmtree, folder)
        folder.chmod(0o711)  # the servers' users pass through
        city = Scratch(layout(_elsewhere(settings, folder)))
        ending.callback(city.end)
        city._start_servers()  # noqa: SLF001 -- the other half of this constructor
        asyncio.run(preparing.prepare_database(city.settings))
        asyncio.run(preparing.create_topics(city.settings))
        yield city


def _elsewhere(settings: Settings, folder: Path) -> Settings:
    """The same settings on free ports, in another folder."""
    ports = ("mqtt_port", "database_port", "gateway_health_port")
    changes = {name: free_port() for name in ports} | {
        "state_directory": folder,
        "secrets_directory": None,
        "kafka_bootstrap": f"{LOOPBACK}:{_two_ports()}",
        "ingest_health_port": _two_ports(),
        "mqtt_host": LOOPBACK,
        "database_host": LOOPBACK,
    }
    return settings.model_copy(update=changes)


def _two_ports() -> int:
    """Return a free port whose successor is free too, as Kafka and a pair of services want."""
    while not is_free((first := free_port()) + 1):
        pass
    return first
