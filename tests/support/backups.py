"""A cold backup of a PostgreSQL, put back while the services go on."""

import shutil
import subprocess
from pathlib import Path

from tests.support.databases import PostgreSQLServer


def take_backup(server: PostgreSQLServer) -> Path:
    """Stop the server, copy its cluster beside it, start it again; returns the copy."""
    data = server.server.data_directory
    copy = data.with_name("backup")
    server.stop()
    subprocess.run(["cp", "-a", data, copy], check=True)
    server.start()
    return copy


def restore_backup(server: PostgreSQLServer, copy: Path) -> None:
    """Stop the server, put the copy in the place of its cluster, start it again."""
    data = server.server.data_directory
    server.stop()
    shutil.rmtree(data)
    copy.rename(data)
    server.start()
