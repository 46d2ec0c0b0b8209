"""Secrets of the local stack: one file each, readable by its owner only, made on first use."""

import os
import secrets
from pathlib import Path

SECRET_BYTES = 24


def secret(directory: Path, name: str) -> str:
    """The secret of that name; made and written (mode 0600) when there is none yet."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / name
    if not path.exists():
        _write_once(path, secrets.token_urlsafe(SECRET_BYTES))
    return path.read_text(encoding="utf-8").strip()


def _write_once(path: Path, value: str) -> None:
    # Written aside and linked into place: two processes that start together agree on one secret,
    # and nobody reads a file half written.
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value + "\n")
    try:
        os.link(aside, path)
    except FileExistsError:
        return
    finally:
        aside.unlink()
