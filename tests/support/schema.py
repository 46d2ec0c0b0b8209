"""The hook by which the databases of tests get the schema."""


def migrate_template(dsn: str) -> None:
    """Bring the template that all test databases are copied from to the current schema.

    Called once for each server, with a database that has TimescaleDB and nothing else.
    """
    del dsn  # services.storage.migrate is wired in here
