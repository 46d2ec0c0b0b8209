"""PostgreSQL 15 with TimescaleDB on the loopback interface, with nothing traded for speed."""

import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from services.operations.stack import ownership
from services.operations.stack.processes import run
from services.operations.stack.program import Program

BINARIES = Path("/usr/lib/postgresql/15/bin")
SUPERUSER = "postgres"

_CONFIGURATION = """\
# Written by citytally at each start; changes here do not last.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
password_encryption = scram-sha-256
max_connections = 100

# What is committed is on disk. Neither is ever switched off, not for a measurement either.
fsync = on
synchronous_commit = on
full_page_writes = on

shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
timescaledb.max_background_workers = {background_workers}
max_worker_processes = 16
max_parallel_workers = 2
max_parallel_workers_per_gather = 1

# A query over a year locks every chunk of it.
max_locks_per_transaction = 1024

# Two cores and 24 GiB, shared with the brokers and the services.
shared_buffers = {shared_buffers_mb}MB
effective_cache_size = 8GB
work_mem = 32MB
maintenance_work_mem = 256MB
wal_buffers = 64MB
max_wal_size = {max_wal_mb}MB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
random_page_cost = 1.1
# The queries are short or scan much; compiling them costs more than it saves.
jit = off

timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d '
log_checkpoints = off
"""

_CLIENTS = """\
# Written by citytally at each start: a password over loopback, nothing else.
host all all 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """One database server: its folder, its port and how much memory it takes."""

    directory: Path
    port: int
    shared_buffers_mb: int = 2048
    max_wal_mb: int = 4096
    background_workers: int = 4

    @property
    def user(self) -> str | None:
        """Who it runs as; it refuses to run as root."""
        return ownership.service_user("postgres")

    @property
    def home(self) -> Path:
        """Where its files really are: `directory`, or where its user can reach them."""
        return ownership.reachable_directory(self.directory, self.user)

    @property
    def data_directory(self) -> Path:
        """The folder of the database cluster."""
        return self.home / "data"

    def prepare(self, password: str) -> None:
        """Make the cluster when it is new (superuser `postgres`), and write the configuration."""
        ownership.make_directory(self.home, self.user)
        if not (self.data_directory / "PG_VERSION").exists():
            self._initialise(password)
        self.configure()

    def configure(self) -> None:
        """Write the configuration of a cluster that exists."""
        text = configuration(self)
        ownership.write_private(self.data_directory / "postgresql.conf", text, self.user)
        ownership.write_private(self.data_directory / "pg_hba.conf", _CLIENTS, self.user)

    def program(self) -> Program:
        """The process to run. SIGINT ends it at once and cleanly; SIGTERM waits for clients."""
        command = (str(BINARIES / "postgres"), "-D", str(self.data_directory))
        return Program(
            "postgresql",
            command,
            self.home,
            user=self.user,
            stop_signal=signal.SIGINT,
            stop_seconds=60,
            priority=10,
        )

    def is_ready(self) -> bool:
        """True when it takes connections (and is not still recovering)."""
        command = [str(BINARIES / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _initialise(self, password: str) -> None:
        with tempfile.TemporaryDirectory(dir=self.home) as folder:
            ownership.give(Path(folder), self.user)
            password_file = Path(folder) / "password"
            ownership.write_private(password_file, password + "\n", self.user)
            command = ownership.as_user(initdb_command(self, password_file), self.user)
            run(command, self.home)


def initdb_command(server: PostgreSQL, password_file: Path) -> tuple[str, ...]:
    """The command that makes the cluster; the password is read from a file, never an argument."""
    return (
        str(BINARIES / "initdb"),
        f"--pgdata={server.data_directory}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
    )


def configuration(server: PostgreSQL) -> str:
    """The text of postgresql.conf."""
    return _CONFIGURATION.format(
        port=server.port,
        background_workers=server.background_workers,
        shared_buffers_mb=server.shared_buffers_mb,
        max_wal_mb=server.max_wal_mb,
    )
