"""The command line as a person uses it, on a test's own database."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from services.cli.main import app
from services.operations.stack.ports import free_port
from services.storage.pool import ROLES
from tests.support.databases import Database


@dataclass(frozen=True)
class CommandLine:
    """Runs commands with the settings of one installation."""

    environment: dict[str, str]

    async def __call__(self, *arguments: object, stdin: bytes = b"") -> Result:
        """Run a command in a thread of its own, as each runs an event loop of its own."""
        return await asyncio.to_thread(
            CliRunner().invoke, app, [str(each) for each in arguments], input=stdin,
            env=self.environment,
        )  # fmt: skip

    async def json(self, *arguments: object, exit_code: int = 0, stdin: bytes = b"") -> Any:
        """Run a command with ``--json`` and return what it printed."""
        done = await self(*arguments, "--json", stdin=stdin)
        assert done.exit_code == exit_code, done.output
        return json.loads(done.stdout)


@contextmanager
def command_line(database: Database, folder: Path) -> Iterator[CommandLine]:
    """A command line that knows a database and nothing else; all other ports are nobody's."""
    secrets = folder / "secrets"
    secrets.mkdir(mode=0o700)
    passwords = {database.user: database.password, "gateway": "x", "operator": "x"}
    for account, password in (
        passwords | {role: f"{role}-secret" for role in ROLES.values()}
    ).items():
        (secrets / account).write_text(password)
    settings = {
        "state_directory": folder, "database_host": database.host, "owner_user": database.user,
        "database_port": database.port, "database_name": database.name, "zone": "UTC",
        "mqtt_port": free_port(), "kafka_bootstrap": f"127.0.0.1:{free_port()}",
        "gateway_health_port": free_port(), "ingest_health_port": free_port(),
    }  # fmt: skip
    yield CommandLine({f"CITYTALLY_{name.upper()}": str(value) for name, value in settings.items()})
