"""Every setting, declared once: environment variables ``CITYTALLY_<NAME>``, all with a default.

Built in ``main`` and passed down. Secrets are read from files, never from variables or arguments.
What the local stack runs with stands in its state directory, so that other commands find it.
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

Role = Literal["owner", "ingest", "derive", "read", "operate"]

PREFIX = "CITYTALLY_"
STATE_DIRECTORY = Path(".citytally")
RUNNING_SETTINGS = "settings.env"
"""File in the state directory by which the local stack that runs is found."""


class Settings(BaseSettings):
    """What an installation may change; each description says what happens when it is wrong."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    state_directory: Path = Field(
        default=STATE_DIRECTORY,
        description="Data, logs, sockets and secrets of the local stack. Another folder is "
        "another, empty city.",
    )
    secrets_directory: Path | None = Field(
        default=None,
        description="One file a password, named after the account. Default: `secrets` in the state "
        "directory. A missing file is an error that names it.",
    )
    zone: str = Field(
        default="Asia/Ho_Chi_Minh",
        description="The city's IANA time zone. Wrong: naive times and days shift.",
    )

    mqtt_host: str = Field(default="127.0.0.1", description="Host of the MQTT broker.")
    mqtt_port: int = Field(default=51883, description="Port of the MQTT broker.")
    mqtt_user: str = Field(default="gateway", description="Account that may read all topics.")
    mqtt_topics: tuple[str, ...] = Field(
        default=(),
        description="MQTT filters that the gateways share, as a JSON list. Empty: those of every "
        "convention. What no filter matches is acknowledged to the sender and goes nowhere.",
    )
    kafka_bootstrap: str = Field(
        default="127.0.0.1:59092", description="Kafka's addresses, separated by commas."
    )
    raw_topic: str = Field(
        default="telemetry.raw",
        description="Kafka topic of raw messages. Another name is another log, accounted for "
        "apart.",
    )
    database_host: str = Field(default="127.0.0.1", description="Host of PostgreSQL.")
    database_port: int = Field(default=55432, description="Port of PostgreSQL.")
    database_name: str = Field(default="citytally", description="Name of the database.")
    owner_user: str = Field(
        default="postgres", description="Account that migrates: owns schema and roles."
    )
    api_port: int = Field(default=58000, description="Port of the API (in a later version).")

    gateway_slot: str = Field(
        default="gateway-0",
        description="Stable name of this gateway: its MQTT session and Kafka header. Two running "
        "under one name push each other out of the broker for ever.",
    )
    gateway_health_port: int = Field(
        default=58010, description="Port of the gateway's /metrics, /livez and /readyz."
    )
    gateway_in_flight_messages: int = Field(
        default=20_000,
        description="Messages taken from MQTT and not yet answered by Kafka, at most. Too low: "
        "throughput sinks to this number for each Kafka round trip; too high: more comes twice "
        "after a crash.",
    )
    gateway_in_flight_bytes: int = Field(
        default=64 * 1024 * 1024,
        description="The same in bytes. Too low: large messages go one by one; too high: memory.",
    )
    gateway_chunk_messages: int = Field(
        default=5_000,
        description="Messages handed to Kafka together, at most. Too low: more CPU a message; too "
        "high: the first one waits for the last.",
    )
    gateway_linger_ms: int = Field(
        default=50,
        description="How long a chunk waits for company. Too low: more CPU a message, Kafka's too; "
        "too high: delay.",
    )
    gateway_drain_s: float = Field(
        default=20.0,
        description="How long a gateway that is stopped waits for Kafka's answers. Too short: more "
        "comes twice; longer than the supervisor waits: killed meanwhile, with the same effect.",
    )
    message_bytes: int = Field(
        default=256 * 1024,
        description="A larger payload is forwarded as an empty record with an `oversize` header. "
        "Above Kafka's limit every large message takes the refused path.",
    )

    ingest_name: str = Field(
        default="ingest-0", description="Name of this ingest process in logs and in Kafka's group."
    )
    ingest_health_port: int = Field(
        default=58020, description="Port of ingest's /metrics, /livez and /readyz."
    )
    consumer_group: str = Field(
        default="citytally-ingest",
        description="Kafka group that divides partitions among ingest processes. Two groups on one "
        "database push each other back at the fence: exact, but slow.",
    )
    batch_messages: int = Field(
        default=10_000,
        description="Messages of one transaction, at most. Too low: fsync dominates; too high: "
        "memory, and longer waits for a row to be seen.",
    )
    batch_bytes: int = Field(
        default=4 * 1024 * 1024,
        description="Payload bytes of one transaction, about: bounds the memory that messages of "
        "many readings take. Too low: fsync dominates; too high: memory.",
    )
    batch_wait_ms: int = Field(
        default=100,
        description="How long ingest waits for a batch to fill. Too high: delay.",
    )
    verify_log_s: float = Field(
        default=60.0,
        description="How often ingest proves that Kafka's log is still the one its offsets are of.",
    )
    sweep_s: float = Field(
        default=30.0,
        description="How often messages of devices registered since are taken out of quarantine.",
    )
    statement_timeout_s: float = Field(
        default=60.0,
        description="Longest statement of ingest. Too low: large batches never commit.",
    )
    future_tolerance_s: float = Field(
        default=300.0,
        description="How far ahead of its receipt a reading may be. Larger: wrong clocks pass.",
    )
    accept_past_days: int = Field(
        default=400,
        description="How long before its registration a device's readings are taken by default "
        "(its `data_from`).",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments first, then the environment, then what the local stack runs with."""
        del dotenv_settings, file_secret_settings
        given = init_settings().get("state_directory")
        directory = given or os.environ.get(f"{PREFIX}STATE_DIRECTORY") or STATE_DIRECTORY
        running = DotEnvSettingsSource(settings_cls, env_file=Path(directory) / RUNNING_SETTINGS)
        return init_settings, env_settings, running

    def secret(self, account: str) -> str:
        """Return the password of an account from its file."""
        path = (self.secrets_directory or self.state_directory / "secrets") / account
        try:
            return path.read_text(encoding="utf-8").strip()
        except FileNotFoundError as error:
            message = (
                f"no password for {account}: {path} is missing (`citytally up` makes the local "
                "ones; elsewhere set CITYTALLY_SECRETS_DIRECTORY)"
            )
            raise MissingSecretError(message) from error


class MissingSecretError(Exception):
    """A secret's file is not there; the message names it and the remedy."""
