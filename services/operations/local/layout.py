"""What runs on one machine: three servers, then the services, each with its port and setting."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.common.settings import PREFIX, Settings
from services.operations.stack.kafka import Kafka
from services.operations.stack.mosquitto import GATEWAY, Mosquitto
from services.operations.stack.ports import LOOPBACK
from services.operations.stack.postgresql import SUPERUSER, PostgreSQL
from services.operations.stack.program import Program, ServerDescription

GATEWAYS = ("gateway-0",)
INGESTS = ("ingest-0", "ingest-1")
SIMULATOR = "simulator"

# Programs start in this order and end in the reverse one, each waiting for the one before.
_INGEST_PRIORITY, _GATEWAY_PRIORITY, _SIMULATOR_PRIORITY = 20, 30, 40
_INGEST_STOP_SECONDS = 60.0
_GATEWAY_GRACE_SECONDS = 10.0
_LOCAL_HOSTS = frozenset({LOOPBACK, "localhost"})


class ElsewhereError(Exception):
    """A setting names servers or accounts other than those that the local stack has."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A port that a program listens on, and the setting that changes it."""

    program: str
    port: int
    setting: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The local stack that the settings describe. Its state directory is absolute."""

    settings: Settings
    mosquitto: Mosquitto
    kafka: Kafka
    postgresql: PostgreSQL

    @property
    def state_directory(self) -> Path:
        """Where data, logs, sockets and secrets are."""
        return self.settings.state_directory

    def servers(self) -> dict[str, ServerDescription]:
        """The servers by program name, in the order in which they are waited for."""
        return {"mosquitto": self.mosquitto, "kafka": self.kafka, "postgresql": self.postgresql}

    def health_ports(self) -> dict[str, int]:
        """The port of each service's health and metrics, by program name."""
        settings = self.settings
        first = {GATEWAYS: settings.gateway_health_port, INGESTS: settings.ingest_health_port}
        return {name: port + n for names, port in first.items() for n, name in enumerate(names)}

    def listeners(self) -> list[Listener]:
        """Every port that must be free, or ours already."""
        settings = self.settings
        return [
            Listener("mosquitto", settings.mqtt_port, "MQTT_PORT"),
            Listener("kafka", self.kafka.port, "KAFKA_BOOTSTRAP"),
            Listener("kafka", self.kafka.controller_port, "KAFKA_BOOTSTRAP (it is one above)"),
            Listener("postgresql", settings.database_port, "DATABASE_PORT"),
            *[
                Listener(name, port, f"{name.split('-')[0].upper()}_HEALTH_PORT")
                for name, port in self.health_ports().items()
            ],
        ]

    def server_programs(self) -> list[Program]:
        """The processes of the servers, once they are prepared."""
        return [server.program() for server in self.servers().values()]

    def service_programs(self) -> list[Program]:
        """The processes of ingest and gateway."""
        ports = self.health_ports()
        ingests = [
            self._service(
                name,
                "ingest",
                {"INGEST_NAME": name, "INGEST_HEALTH_PORT": str(ports[name])},
                _INGEST_PRIORITY,
                _INGEST_STOP_SECONDS,
            )
            for name in INGESTS
        ]
        stop_seconds = self.settings.gateway_drain_s + _GATEWAY_GRACE_SECONDS
        gateways = [
            self._service(
                name,
                "gateway",
                {"GATEWAY_SLOT": name, "GATEWAY_HEALTH_PORT": str(ports[name])},
                _GATEWAY_PRIORITY,
                stop_seconds,
            )
            for name in GATEWAYS
        ]
        return [*ingests, *gateways]

    def simulator_program(self, devices: int) -> Program:
        """The process of a simulated city."""
        program = self._service(SIMULATOR, "simulator", {}, _SIMULATOR_PRIORITY, 30.0)
        return dataclasses.replace(program, command=(*program.command, "--devices", str(devices)))

    def _service(
        self, name: str, module: str, own: dict[str, str], priority: int, stop_seconds: float
    ) -> Program:
        return Program(
            name,
            (sys.executable, "-m", f"services.{module}"),
            self.state_directory,
            environment=_environment(self.settings) | {PREFIX + key: own[key] for key in own},
            stop_seconds=stop_seconds,
            priority=priority,
        )


def layout(settings: Settings) -> Layout:
    """Return the local stack of these settings.

    Raises:
        ElsewhereError: a setting names a host that is not this machine's loopback interface.
    """
    local = _absolute(settings)
    directory, kafka_port = local.state_directory, _kafka_port(local)
    _require_local("MQTT_HOST", local.mqtt_host)
    _require_local("DATABASE_HOST", local.database_host)
    _require_account("OWNER_USER", local.owner_user, SUPERUSER)
    _require_account("MQTT_USER", local.mqtt_user, GATEWAY)
    topics = local.mqtt_topics or ("citytally/#",)
    return Layout(
        local,
        Mosquitto(directory / "mosquitto", local.mqtt_port, topics),
        Kafka(directory / "kafka", kafka_port, kafka_port + 1),
        PostgreSQL(directory / "postgresql", local.database_port),
    )


def changed(settings: Settings) -> dict[str, str]:
    """Return the settings that are not at their default, as environment variables."""
    told = settings.model_dump(mode="json", exclude_defaults=True)
    return {PREFIX + name.upper(): _text(told[name]) for name in sorted(told)}


def _absolute(settings: Settings) -> Settings:
    """Programs run in folders of their own, where a relative path means something else."""
    named = ("state_directory", "secrets_directory")
    paths = {name: path.resolve() for name in named if (path := getattr(settings, name))}
    return settings.model_copy(update=paths)


def _environment(settings: Settings) -> dict[str, str]:
    """What a service is told, so that one whose settings change is started anew.

    supervisord passes no double quote on; a list reaches the service by the file of the settings.
    """
    told = changed(settings)
    return {name: value for name, value in told.items() if '"' not in value}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _kafka_port(settings: Settings) -> int:
    addresses: Sequence[str] = settings.kafka_bootstrap.split(",")
    host, _, port = addresses[0].strip().rpartition(":")
    if len(addresses) != 1 or not port.isdigit():
        raise ElsewhereError(
            f"{PREFIX}KAFKA_BOOTSTRAP is {settings.kafka_bootstrap!r}: the local stack has one "
            f"Kafka, write it as {LOOPBACK}:PORT"
        )
    _require_local("KAFKA_BOOTSTRAP", host)
    return int(port)


def _require_local(setting: str, host: str) -> None:
    if host not in _LOCAL_HOSTS:
        raise ElsewhereError(
            f"{PREFIX}{setting} names {host}, and `citytally up` starts servers on this machine "
            f"only: unset it, or start that server there"
        )


def _require_account(setting: str, account: str, local: str) -> None:
    if account != local:
        raise ElsewhereError(
            f"{PREFIX}{setting} is {account}, and the local servers know that account as {local}: "
            "unset it"
        )
