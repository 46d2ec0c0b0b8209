"""The database's disk full: on a small disk of its own, where mounting one is permitted."""

import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from services.operations.drilling.backups import copy_folder, put_in_place
from services.operations.drilling.result import Promise, SkippedError
from services.operations.drilling.run import Run
from services.operations.drilling.scenario import Scenario
from services.operations.stack import ownership
from services.operations.stack.processes import CommandError
from services.operations.stack.processes import run as run_command

ROOM_MB = 128
"""Room on the small disk beside what the database has already."""
MEGABYTE = 1024 * 1024
BALLAST, PAGE = "ballast", 4096


async def full_disk(run: Run) -> None:
    """Fill the disk under load: ingest waits, says so, and goes on once there is room."""
    stage = run.stage
    data = stage.city.layout.postgresql.data_directory
    _require_mounting()
    async with _small_disk(run, data):
        async with run.load() as load:
            await load.reaches(0.1)
            run.say("the disk is filled to its last page")
            await asyncio.to_thread(_fill, data)
            await stage.until(_says_so(run), "ingest says that the database can't be used")
            await load.seconds(2)
            run.say("there is room again")
            (data / BALLAST).unlink()
            if not stage.server("postgresql").is_running:
                await stage.start("postgresql")
            await stage.ready("postgresql", "ingest-0", "ingest-1")
        await run.settle()


def _says_so(run: Run) -> Callable[[], Awaitable[bool]]:
    async def says_so() -> bool:
        reasons = [await asyncio.to_thread(run.stage.reason, name)
                   for name in ("ingest-0", "ingest-1")]  # fmt: skip
        return any("database" in (reason or "") for reason in reasons)

    return says_so


def _require_mounting() -> None:
    if os.geteuid() != 0:
        raise SkippedError("mounting a small disk takes root")
    with tempfile.TemporaryDirectory() as name:
        try:
            _mount(Path(name), 1)
        except CommandError as error:
            raise SkippedError(f"no small disk can be mounted here: {error}") from error
        _unmount(Path(name))


@asynccontextmanager
async def _small_disk(run: Run, data: Path) -> AsyncIterator[None]:
    """Keep the database's files on a small disk while the context is open."""
    stage, aside = run.stage, data.with_name("aside")
    await stage.stop("postgresql")
    size_mb = _used_mb(data) + ROOM_MB
    run.say(f"PostgreSQL moves to a disk of {size_mb} MB")
    user = stage.city.layout.postgresql.user
    await asyncio.to_thread(_move_aside, data, aside, user)
    _mount(data, size_mb)
    try:
        await asyncio.to_thread(_fill_from, aside, data, user)
        await stage.start("postgresql")
        yield
        await stage.stop("postgresql")
        await asyncio.to_thread(shutil.rmtree, aside)
        await asyncio.to_thread(copy_folder, data, aside)
    finally:
        await stage.kill("postgresql")
        _unmount(data)
    put_in_place(aside, data)
    await stage.start("postgresql")
    await stage.ready("ingest-0", "ingest-1")


def _move_aside(data: Path, aside: Path, user: str | None) -> None:
    """Leave an empty folder in its place, to mount on."""
    data.rename(aside)
    ownership.make_directory(data, user)


def _fill_from(aside: Path, data: Path, user: str | None) -> None:
    run_command(["cp", "-a", f"{aside}/.", str(data)], aside)
    data.chmod(0o700)
    ownership.give(data, user)


def _used_mb(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // MEGABYTE + 1


def _fill(folder: Path) -> None:
    """Take all the room that there is, and what is given back meanwhile."""
    with (folder / BALLAST).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _mount(folder: Path, size_mb: int) -> None:
    run_command(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)], folder)


def _unmount(folder: Path) -> None:
    # Lazily: whoever still has a file open there is about to end.
    run_command(["umount", "-l", str(folder)], folder.parent)


SCENARIOS = (
    Scenario(
        "disk-full", "the database's disk full",
        (Promise.P1, Promise.P2, Promise.P3, Promise.P5), full_disk,
    ),
)  # fmt: skip
