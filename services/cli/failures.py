"""What can keep a command from its work, each told in one sentence with the remedy.

A traceback is for a mistake of ours; a server that is away, a schema that is old or a device that
nobody knows is none.
"""

import asyncio
from collections.abc import Callable

import asyncpg
import typer
from aiokafka.errors import KafkaError

from schemas.registry import InvalidRegistryError
from services.common.mqtt import BrokerRefusedError
from services.common.settings import MissingSecretError, Settings
from services.operations.accounting import GapError
from services.operations.device_rows import RowError
from services.operations.local.installed import NotInstalledError
from services.operations.local.layout import ElsewhereError
from services.operations.local.ports_taken import PortTakenError
from services.operations.local.running import StartError
from services.operations.mending import MendingError
from services.operations.stack.processes import CommandError, StillRunningError
from services.operations.stack.server import ServerError
from services.operations.stack.supervision import SupervisionError
from services.storage.failures import UnavailableError, is_unavailable
from services.storage.migrate import MigrationError

FINE, WRONG, USAGE, UNREACHABLE = 0, 1, 2, 3
"""Exit codes: fine; data or ledger is wrong; used wrongly; a server could not be reached."""

_UNREACHABLE = (
    MissingSecretError, BrokerRefusedError, StartError, SupervisionError, PortTakenError,
    NotInstalledError, CommandError, StillRunningError, ServerError,
    KafkaError, UnavailableError, OSError, asyncpg.InterfaceError, asyncio.TimeoutError,
)  # fmt: skip
_USAGE = (MendingError, GapError, InvalidRegistryError, RowError, ElsewhereError)
_WRONG = (MigrationError,)

EXPECTED: tuple[type[BaseException], ...] = (
    *_UNREACHABLE, *_USAGE, *_WRONG, asyncpg.PostgresError,
)  # fmt: skip
"""What is told plainly; anything else is a mistake of ours and shows its traceback."""


def tell(error: BaseException) -> typer.Exit:
    """Print what kept a command from its work, and return the exit that says so."""
    code, sentence = _explained(error, Settings())
    typer.echo(f"citytally: {sentence}", err=True)
    return typer.Exit(code)


def _explained(error: BaseException, settings: Settings) -> tuple[int, str]:
    if isinstance(error, asyncpg.PostgresError):
        return _of_postgresql(error, settings)
    if isinstance(error, _USAGE):
        return USAGE, str(error)
    if isinstance(error, _WRONG):
        return WRONG, str(error)
    if isinstance(error, KafkaError):
        return UNREACHABLE, _away("Kafka", settings.kafka_bootstrap, error)
    if isinstance(error, OSError | asyncpg.InterfaceError):
        address = f"{settings.database_host}:{settings.database_port}"
        return UNREACHABLE, _away("PostgreSQL", address, error)
    return UNREACHABLE, str(error)


def _of_postgresql(error: asyncpg.PostgresError, settings: Settings) -> tuple[int, str]:
    sentence: dict[type[asyncpg.PostgresError], Callable[[], str]] = {
        asyncpg.UndefinedTableError: lambda: (
            f"the schema is not up to date ({error}): run `citytally migrate`"
        ),
        asyncpg.UndefinedColumnError: lambda: (
            f"the schema is not up to date ({error}): run `citytally migrate`"
        ),
        asyncpg.InvalidCatalogNameError: lambda: f"{error}: `citytally up` makes it",
        asyncpg.InvalidPasswordError: lambda: (
            f"{error}: its secret is not the one that `citytally migrate` set"
        ),
    }
    for kind, text in sentence.items():
        if isinstance(error, kind):
            return UNREACHABLE, text()
    if is_unavailable(error):
        address = f"{settings.database_host}:{settings.database_port}"
        return UNREACHABLE, _away("PostgreSQL", address, error)
    return WRONG, f"PostgreSQL refuses: {error}"


def _away(server: str, address: str, error: BaseException) -> str:
    reason = str(error) or type(error).__name__
    return (
        f"{server} at {address} could not be reached ({reason}): `citytally up` starts it, "
        "`citytally status` shows what runs"
    )
