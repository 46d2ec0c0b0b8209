"""The database restored to an older copy of itself: Kafka is read again from there."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from services.operations.drilling.result import Promise
from services.operations.drilling.run import Run
from services.operations.drilling.scenario import Scenario
from services.operations.stack.processes import run as run_command


async def database_restored(run: Run) -> None:
    """Copy the data directory cold, go on, put the copy back: its offsets rule."""
    stage, data = run.stage, run.stage.city.layout.postgresql.data_directory
    copy = data.with_name("backup")
    async with run.load() as load:
        await load.reaches(0.2)
        run.say("PostgreSQL is stopped and its data directory copied")
        await stage.stop("postgresql")
        await asyncio.to_thread(copy_folder, data, copy)
        await stage.start("postgresql")
        in_copy = (await stage.account()).balance.messages["received"]
        await load.reaches(0.7)
        await stage.until(_moved_on(run, in_copy), "ingest stores more than the copy has")
        run.say("PostgreSQL is stopped and the older copy put in its place")
        await stage.stop("postgresql")
        await asyncio.to_thread(put_in_place, copy, data)
        await stage.start("postgresql")
        await stage.ready("ingest-0", "ingest-1")


def _moved_on(run: Run, former: int) -> Callable[[], Awaitable[bool]]:
    async def has_moved() -> bool:
        received = (await run.stage.account()).balance.messages["received"]
        return received >= former + run.messages // 10

    return has_moved


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder with owners and modes, as a cold backup does."""
    run_command(["cp", "-a", str(source), str(target)], source.parent)


def put_in_place(copy: Path, folder: Path) -> None:
    """Replace a folder by a copy of it."""
    shutil.rmtree(folder)
    copy.rename(folder)


SCENARIOS = (
    Scenario(
        "database-restored", "PostgreSQL restored to an older copy",
        (Promise.P1, Promise.P2, Promise.P3), database_restored, quick=True,
    ),
)  # fmt: skip
