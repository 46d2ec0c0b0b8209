"""Which user a server runs as, and folders that this user can reach."""

import hashlib
import os
import pwd
from pathlib import Path


def service_user(name: str) -> str | None:
    """The user a server of that name runs as: itself when we are root, else whoever we are."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(name)
    except KeyError:
        return None
    return name


def reachable_directory(wanted: Path, user: str | None) -> Path:
    """`wanted` where the user can get there, else a folder of the same meaning in their home."""
    if user is None or all(_may_enter(folder, user) for folder in wanted.parents):
        return wanted
    digest = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
    return Path(pwd.getpwnam(user).pw_dir) / f"citytally-{digest}"


def make_directory(path: Path, user: str | None, mode: int = 0o700) -> None:
    """Make the folder, with its parents, and give it to the user."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    path.chmod(mode)
    give(path, user)


def give(path: Path, user: str | None) -> None:
    """Make the user the owner of a file or folder; nothing to do when we are that user."""
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(path, account.pw_uid, account.pw_gid)


def write_private(path: Path, text: str, user: str | None) -> None:
    """Replace a file at once by one with this text that only its user can read."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    give(aside, user)
    aside.replace(path)


def as_user(command: tuple[str, ...], user: str | None) -> tuple[str, ...]:
    """The same command, run as that user."""
    if user is None:
        return command
    group = str(pwd.getpwnam(user).pw_gid)
    return ("setpriv", "--reuid", user, "--regid", group, "--init-groups", "--", *command)


def _may_enter(folder: Path, user: str) -> bool:
    # A folder that does not exist yet will be made by us, with a mode that lets everybody through.
    if not folder.exists():
        return True
    status = folder.stat()
    account = pwd.getpwnam(user)
    if status.st_uid == account.pw_uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid in os.getgrouplist(user, account.pw_gid):
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)
