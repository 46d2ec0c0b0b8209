"""What must be there before something can run: secrets, folders, a database, Kafka's topics."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from schemas.topics import KAFKA_TOPICS, RAW
from services.common import kafka
from services.common.settings import Settings
from services.operations.local.layout import Layout
from services.operations.migrating import migrate_database
from services.operations.stack import secrets
from services.operations.stack.mosquitto import GATEWAY, OPERATOR
from services.storage.databases import create_database
from services.storage.pool import ROLES


def make_secrets(settings: Settings) -> None:
    """Make the passwords of all accounts that have none yet, one file each."""
    for account in (GATEWAY, OPERATOR, settings.owner_user, *ROLES.values()):
        secrets.secret(_secrets_directory(settings), account)


def prepare_servers(layout: Layout) -> None:
    """Write the servers' configurations; make the folders of those that are new."""
    settings = layout.settings
    accounts = {name: settings.secret(name) for name in (GATEWAY, OPERATOR)}
    owner = settings.secret(settings.owner_user)
    # A new cluster and a new log take seconds each, so that they are made side by side.
    with ThreadPoolExecutor() as at_once:
        work = [
            at_once.submit(layout.mosquitto.prepare, accounts),
            at_once.submit(layout.kafka.prepare),
            at_once.submit(layout.postgresql.prepare, owner),
        ]
    for done in work:
        done.result()


async def prepare_database(settings: Settings) -> list[str]:
    """Make the database where there is none, and bring its schema up to date."""
    await create_database(settings)
    return await migrate_database(settings)


async def create_topics(settings: Settings) -> list[str]:
    """Create the topics that are not there yet; return their names."""
    wanted = [
        replace(topic, name=settings.raw_topic) if topic is RAW else topic
        for topic in KAFKA_TOPICS.values()
    ]
    client = kafka.admin(settings, "citytally-up")
    try:
        await client.start()
        return await kafka.create_topics(client, wanted)
    finally:
        await client.close()


def _secrets_directory(settings: Settings) -> Path:
    return settings.secrets_directory or settings.state_directory / "secrets"
