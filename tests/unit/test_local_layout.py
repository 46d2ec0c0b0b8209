"""What runs on one machine, and what is refused before anything is touched."""

import os
from pathlib import Path
from typing import Any

import pytest

from services.common.settings import RUNNING_SETTINGS, Settings
from services.operations.local import addresses
from services.operations.local.layout import ElsewhereError, Listener, layout
from services.operations.local.ports_taken import PortTakenError, require_ports
from services.operations.stack import ports
from services.operations.stack.ports import free_port
from services.operations.stack.supervisor_configuration import SupervisorFiles, configuration


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the shell that runs the tests has set."""
    for name in [name for name in os.environ if name.startswith("CITYTALLY_")]:
        monkeypatch.delenv(name)


def here(folder: Path, **settings: Any) -> Settings:
    return layout(Settings(state_directory=folder, **settings)).settings


def test_services_end_before_the_servers_and_the_simulator_first(tmp_path: Path) -> None:
    made = layout(Settings(state_directory=tmp_path))
    programs = [*made.server_programs(), *made.service_programs(), made.simulator_program(30)]

    last_first = sorted(programs, key=lambda program: -program.priority)

    assert [program.name for program in last_first] == [
        "simulator", "gateway-0", "ingest-0", "ingest-1", "mosquitto", "kafka", "postgresql",
    ]  # fmt: skip


def test_services_are_told_apart_by_name_and_port(tmp_path: Path) -> None:
    made = layout(Settings(state_directory=tmp_path, ingest_health_port=7000))
    by_name = {program.name: program.environment for program in made.service_programs()}

    assert by_name["ingest-1"]["CITYTALLY_INGEST_NAME"] == "ingest-1"
    assert by_name["ingest-1"]["CITYTALLY_INGEST_HEALTH_PORT"] == "7001"
    assert by_name["gateway-0"]["CITYTALLY_STATE_DIRECTORY"] == str(tmp_path)


def test_a_list_among_the_settings_is_no_trouble_for_the_supervisor(tmp_path: Path) -> None:
    made = layout(Settings(state_directory=tmp_path, mqtt_topics=("city/#", "town/#")))
    assert "town" not in configuration(SupervisorFiles(tmp_path), made.service_programs())
    assert made.mosquitto.gateway_topics == ("city/#", "town/#")


def test_other_commands_find_what_runs_by_the_state_directory(tmp_path: Path) -> None:
    running = here(tmp_path, mqtt_port=1234, mqtt_topics=("city/#", "town/#"), zone="UTC")
    addresses.publish(running)

    found = Settings(state_directory=tmp_path)

    assert (found.mqtt_port, found.mqtt_topics, found.zone) == (1234, ("city/#", "town/#"), "UTC")
    assert not addresses.differ(running)
    assert addresses.differ(here(tmp_path, mqtt_port=1235))

    addresses.withdraw(running)
    assert (
        Settings(state_directory=tmp_path).mqtt_port == Settings.model_fields["mqtt_port"].default
    )


def test_the_environment_counts_before_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / RUNNING_SETTINGS).write_text("CITYTALLY_MQTT_PORT='1'\nCITYTALLY_API_PORT='2'\n")
    monkeypatch.setenv("CITYTALLY_STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("CITYTALLY_MQTT_PORT", "3")

    settings = Settings()

    assert (settings.mqtt_port, settings.api_port) == (3, 2)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mqtt_host": "broker.example"}, "CITYTALLY_MQTT_HOST"),
        ({"database_host": "db.example"}, "CITYTALLY_DATABASE_HOST"),
        ({"kafka_bootstrap": "kafka.example:9092"}, "CITYTALLY_KAFKA_BOOTSTRAP"),
        ({"kafka_bootstrap": "127.0.0.1:1,127.0.0.1:2"}, "one Kafka"),
        ({"owner_user": "me"}, "CITYTALLY_OWNER_USER"),
        ({"mqtt_user": "me"}, "CITYTALLY_MQTT_USER"),
    ],
)
def test_what_is_elsewhere_is_not_started_here(settings: dict[str, str], told: str) -> None:
    with pytest.raises(ElsewhereError, match=told):
        layout(Settings(**settings))  # type: ignore[arg-type]


def test_a_port_in_use_by_nobody_of_ours_names_its_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port != 1234)

    with pytest.raises(PortTakenError, match=r"1234 for kafka .* CITYTALLY_KAFKA_BOOTSTRAP"):
        require_ports([Listener("kafka", 1234, "KAFKA_BOOTSTRAP")], running=[])

    require_ports([Listener("kafka", free_port(), "KAFKA_BOOTSTRAP")], running=[])
