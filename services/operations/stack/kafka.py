"""Kafka 4.1.1 as one process (KRaft: broker and controller together) on the loopback interface."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from services.operations.stack import ports
from services.operations.stack.processes import run
from services.operations.stack.program import Program

VERSION = "4.1.1"
CLUSTER_ID = "Y2l0eXRhbGx5LWxvY2FsMQ"  # 16 bytes in base64url; one broker, so any will do
LIBRARY_VARIABLE = "CITYTALLY_KAFKA_LIB"
# Compiling well takes 10 s of CPU in the first two million messages, to save 0.4 µs of each later.
_COMPILED_QUICKLY = "-XX:TieredStopAtLevel=1"

# Metadata version 1 for no topic: the answer is a length, a correlation id, a number of brokers.
_METADATA_BODY = struct.pack(">hhih", 3, 1, 1, -1) + struct.pack(">i", 0)
_METADATA = struct.pack(">i", len(_METADATA_BODY)) + _METADATA_BODY
_ANSWER = struct.Struct(">iii")

_CONFIGURATION = """\
# Written by citytally at each start; changes here do not last.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={log_directory}

# A topic is made by what declares it, never by a name mistyped.
auto.create.topics.enable=false
delete.topic.enable=true

# One broker holds one copy.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

group.initial.rebalance.delay.ms=200

# After kill -9 the restarted broker is let in once the session of its former self has run out.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# Two cores and 512 MB of heap, shared with everything else on the machine.
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
background.threads=4
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=16777216
"""


def library() -> Path:
    """Where the jars are: outside of the state folder, so that losing that costs no download."""
    if named := os.environ.get(LIBRARY_VARIABLE):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "citytally" / f"kafka-{VERSION}" / "lib"


@dataclass(frozen=True, slots=True)
class Kafka:
    """One broker: its folder, the port of its clients and the port of its controller."""

    directory: Path
    port: int
    controller_port: int
    heap_mb: int = 512

    @property
    def configuration_file(self) -> Path:
        """The file it is started with."""
        return self.directory / "server.properties"

    @property
    def log_directory(self) -> Path:
        """Where topics and metadata are."""
        return self.directory / "data"

    def prepare(self) -> None:
        """Write the configuration, and format the folder when it is new."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.configuration_file.write_text(configuration(self), encoding="utf-8")
        if not (self.log_directory / "meta.properties").exists():
            run(format_command(self), self.directory)

    def program(self) -> Program:
        """The process to run."""
        heap = (f"-Xms{self.heap_mb // 2}m", f"-Xmx{self.heap_mb}m", "-XX:+ExitOnOutOfMemoryError")
        command = (*_java(*heap), "kafka.Kafka", str(self.configuration_file))
        return Program("kafka", command, self.directory, priority=10)

    def is_ready(self) -> bool:
        """True when it names itself as a broker that is in service."""
        answer = ports.ask(self.port, _METADATA, answer_size=_ANSWER.size)
        if len(answer) < _ANSWER.size:
            return False
        _, _, brokers = _ANSWER.unpack(answer)
        return bool(brokers > 0)


def configuration(broker: Kafka) -> str:
    """The text of server.properties."""
    return _CONFIGURATION.format(
        port=broker.port,
        controller_port=broker.controller_port,
        log_directory=broker.log_directory,
    )


def format_command(broker: Kafka) -> list[str]:
    """The command that makes an empty folder a broker's."""
    tool = ("kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID)
    return [*_java(), *tool, "--config", str(broker.configuration_file)]


def _java(*options: str) -> tuple[str, ...]:
    logger = "-Dorg.slf4j.simpleLogger"
    log = (
        f"{logger}.defaultLogLevel=warn",
        f"{logger}.showDateTime=true",
        f"{logger}.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        f"{logger}.logFile=System.out",
    )
    return ("java", *options, _COMPILED_QUICKLY, *log, "-cp", str(library() / "*"))
