"""The counters of the database, over one connection that is kept and opened again when lost."""

import asyncio

import asyncpg

from services.common.settings import MissingSecretError, Settings
from services.storage.figures import Figures, read_figures
from services.storage.pool import connect

ANSWER_SECONDS = 8.0


class DatabaseLook:
    """Reads figures as the role that may only read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: asyncpg.Connection | None = None

    async def figures(self) -> Figures | str:
        """Return the figures, or a few words on why there are none."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._read()
        except MissingSecretError as error:
            return str(error)
        except TimeoutError:
            self.close()
            return f"no answer within {ANSWER_SECONDS:.0f} s"
        except OSError:
            self.close()
            return "does not answer"
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self.close()
            return str(error)

    def close(self) -> None:
        """Let go of the connection; the next look opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _read(self) -> Figures:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._settings, "read")
        return await read_figures(self._connection)
