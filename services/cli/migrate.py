"""``citytally migrate``: the schema, brought up to date by hand."""

import asyncio

import typer

from services.common.settings import Settings
from services.operations.migrating import migrate_database

EPILOG = """\b
Examples:
  citytally migrate
  CITYTALLY_DATABASE_HOST=db.example CITYTALLY_SECRETS_DIRECTORY=/run/secrets citytally migrate
"""


def migrate_command() -> None:
    """Bring the database's schema up to date and set the roles' passwords.

    Run as the owner (setting owner_user). Safe to repeat; two at once take turns.
    """
    ran = asyncio.run(migrate_database(Settings()))
    for name in ran:
        typer.echo(f"ran {name}")
    typer.echo("the schema is up to date" if ran else "the schema was up to date already")
