"""``python -m services.ingest``: one ingest process; several share the partitions."""

from services.ingest.main import run

if __name__ == "__main__":
    raise SystemExit(run())
