"""Migrations: numbered SQL files, each run once, in order, under an advisory lock."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

from services.storage.queries import query
from services.storage.scram import verifier

LOCK = 0x6369_7479_7461_6C6C  # "citytall": two runners at once take turns


class MigrationError(Exception):
    """The database's migrations and the files disagree; the message says where."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number and name, and the SHA-256 of its text."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Digest by which a file that was changed after it ran is found."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Return all migrations in order."""
    folder = files("services.storage").joinpath("migrations")
    found = (
        Migration(path.name, path.read_text(encoding="utf-8"))
        for path in folder.iterdir()
        if path.name.endswith(".sql")
    )
    return sorted(found, key=lambda migration: migration.name)


async def migrate(connection: asyncpg.Connection, upto: str | None = None) -> list[str]:
    """Bring the schema up to date and return the names of the migrations that ran.

    1. take the lock, so that two runners do not race;
    2. compare what ran with the files: a changed or missing file stops everything;
    3. run each new file and book it in one transaction.
    """
    await connection.execute(query("migrate.lock"), LOCK)
    try:
        await connection.execute(query("migrate.create_extension"))
        await connection.execute(query("migrate.create_table"))
        applied = {
            row["name"]: row["checksum"] for row in await connection.fetch(query("migrate.applied"))
        }
        return [await _run(connection, migration) for migration in _pending(applied, upto)]
    finally:
        await connection.execute(query("migrate.unlock"), LOCK)


def _pending(applied: Mapping[str, str], upto: str | None) -> Iterator[Migration]:
    known = {migration.name: migration for migration in migrations()}
    for name, checksum in applied.items():
        if name not in known:
            message = f"the database ran {name}, which this version does not have: it is newer"
            raise MigrationError(message)
        if known[name].checksum != checksum:
            message = f"{name} was changed after it ran here; write a new migration instead"
            raise MigrationError(message)
    for migration in known.values():
        if migration.name not in applied and (upto is None or migration.name <= upto):
            yield migration


async def _run(connection: asyncpg.Connection, migration: Migration) -> str:
    async with connection.transaction():
        await connection.execute(migration.text)
        await connection.execute(query("migrate.book"), migration.name, migration.checksum)
    return migration.name


async def set_passwords(connection: asyncpg.Connection, passwords: Mapping[str, str]) -> None:
    """Set the roles' passwords; only their SCRAM verifiers travel, so that no log can hold them."""
    for role, password in passwords.items():
        statement = await connection.fetchval(
            query("migrate.password_statement"), role, verifier(password)
        )
        await connection.execute(statement)
