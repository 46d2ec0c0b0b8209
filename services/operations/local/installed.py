"""Whether this machine has the programs that the local stack runs."""

import shutil
from collections.abc import Iterator

from services.operations.stack import kafka, mosquitto, postgresql


class NotInstalledError(Exception):
    """Programs are missing; the message names them and the remedy."""


def require_installed() -> None:
    """Refuse to begin where something would be missing later.

    Raises:
        NotInstalledError: naming all that is missing.
    """
    missing = list(_missing())
    if missing:
        raise NotInstalledError(f"not installed: {', '.join(missing)}; run `make install`")


def _missing() -> Iterator[str]:
    if shutil.which(mosquitto.binary()) is None:
        yield f"Mosquitto ({mosquitto.binary()})"
    if shutil.which("java") is None:
        yield "Java (java)"
    if not any(kafka.library().glob("kafka_2*.jar")):
        yield f"Kafka {kafka.VERSION} ({kafka.library()})"
    if shutil.which(postgresql.BINARIES / "postgres") is None:
        yield f"PostgreSQL 15 ({postgresql.BINARIES})"
