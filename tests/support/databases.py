"""A PostgreSQL with TimescaleDB for tests, and a fresh database for each of them."""

import hashlib
import itertools
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from services.operations.stack import ownership
from services.operations.stack.ports import LOOPBACK, free_port
from services.operations.stack.postgresql import BINARIES, SUPERUSER, PostgreSQL
from tests.support.schema import migrate_template
from tests.support.servers import Server

PASSWORD = "superuser-secret"  # noqa: S105 — of servers that live as long as a test
EXTENDED = "with_timescaledb"
TEMPLATE = "migrated"
CONTROL_FILE = Path("/usr/share/postgresql/15/extension/timescaledb.control")


@dataclass(frozen=True, slots=True)
class Database:
    """An address, with the superuser's password."""

    host: str
    port: int
    name: str
    user: str
    password: str

    @property
    def dsn(self) -> str:
        return self.dsn_of(self.user, self.password)

    def dsn_of(self, user: str, password: str) -> str:
        """The same database as another user sees it."""
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{self.name}"


class PostgreSQLServer(Server):
    """A server that makes databases from a template which has the extension and the schema."""

    def __init__(self, server: PostgreSQL) -> None:
        self.server = server
        self._numbers = itertools.count(1)
        self._has_template = False
        _prepare(server)
        super().__init__(server)

    @property
    def host(self) -> str:
        return LOOPBACK

    @property
    def port(self) -> int:
        return self.server.port

    def database(self, name: str) -> Database:
        """The address of a database of that name, whether it exists or not."""
        return Database(self.host, self.port, name, SUPERUSER, PASSWORD)

    def create_database(self) -> Database:
        """A fresh database with TimescaleDB and the whole schema."""
        if not self._has_template:
            self.run_sql(f"create database {TEMPLATE} template {EXTENDED}")
            # In a thread of its own: an async test has a running event loop, and so has migrate.
            with ThreadPoolExecutor(max_workers=1) as thread:
                thread.submit(migrate_template, self.database(TEMPLATE).dsn).result()
            self._has_template = True
        return self._create(TEMPLATE)

    def create_empty_database(self) -> Database:
        """A fresh database with TimescaleDB and nothing else."""
        return self._create(EXTENDED)

    def drop_database(self, database: Database) -> None:
        self.run_sql(f"drop database if exists {database.name} with (force)")

    def run_sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement by psql; returns what it prints, unaligned and without headers."""
        command = [str(BINARIES / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement]
        address = ["-h", self.host, "-p", str(self.port), "-U", SUPERUSER, "-d", database]
        result = subprocess.run(
            [*command, *address],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise self._error(f"refused {statement!r}: {result.stderr.strip()}")
        return result.stdout.strip()

    def _create(self, template: str) -> Database:
        name = f"test_{next(self._numbers)}"
        self.run_sql(f"create database {name} template {template}")
        return self.database(name)


class DatabasesAhead:
    """Fresh databases of a server, each made while a test still works with the one before."""

    def __init__(self, server: PostgreSQLServer) -> None:
        self._server = server
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="databases")
        self._next = self._make()
        self._drops: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        for drop in self._drops:
            drop.result()

    def take(self) -> Database:
        """A database that nobody has used."""
        fresh = self._next.result()
        self._next = self._make()
        return fresh

    def drop(self, database: Database) -> None:
        """Drop a database some time; the end of the context says if that failed."""
        self._drops.append(self._thread.submit(self._server.drop_database, database))

    def _make(self) -> Future[Database]:
        return self._thread.submit(self._server.create_database)


def new_postgresql(folder: Path) -> PostgreSQLServer:
    """A prepared server that is not started yet."""
    return PostgreSQLServer(_small(folder))


def _small(folder: Path) -> PostgreSQL:
    # No background workers: one that is connected to the template would keep it from being copied.
    return PostgreSQL(
        folder / "postgresql",
        free_port(),
        shared_buffers_mb=256,
        max_wal_mb=1024,
        background_workers=0,
    )


def _prepare(server: PostgreSQL) -> None:
    """Copy the cluster that this machine's first test made; initdb alone takes longer."""
    cached = _cached_cluster()
    if not cached.exists():
        _fill_cache(cached)
    ownership.make_directory(server.home, server.user)
    subprocess.run(["cp", "-a", cached, server.data_directory], check=True)
    server.configure()


def _cached_cluster() -> Path:
    version = subprocess.run([BINARIES / "postgres", "--version"], check=True, capture_output=True)
    facts = version.stdout + CONTROL_FILE.read_bytes() + PASSWORD.encode()
    digest = hashlib.sha256(facts).hexdigest()[:12]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "citytally" / "tests" / f"cluster-{digest}"


def _fill_cache(cached: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = _small(folder)
        server.prepare(PASSWORD)
        _add_extended_database(server)
        cached.parent.mkdir(parents=True, exist_ok=True)
        aside = cached.with_name(f"{cached.name}.{os.getpid()}")
        subprocess.run(["cp", "-a", server.data_directory, aside], check=True)
        try:
            aside.rename(cached)
        except OSError:  # another test run was faster
            if not cached.exists():
                raise
            shutil.rmtree(aside)


def _add_extended_database(server: PostgreSQL) -> None:
    running = PostgreSQLServer.__new__(PostgreSQLServer)
    running.server = server
    Server.__init__(running, server)
    running.start()
    try:
        running.run_sql(f"create database {EXTENDED}")
        running.run_sql("create extension timescaledb", database=EXTENDED)
    finally:
        running.stop()
