"""What the servers of the stack are told."""

import base64
import configparser
import hashlib
import os
import shlex
import signal
from pathlib import Path

import pytest

from services.operations.stack import kafka, mosquitto, ownership, ports, postgresql
from services.operations.stack.kafka import Kafka
from services.operations.stack.mosquitto import Mosquitto
from services.operations.stack.postgresql import PostgreSQL
from services.operations.stack.processes import CommandError, run
from services.operations.stack.program import Program
from services.operations.stack.secrets import secret
from services.operations.stack.supervisor_configuration import SupervisorFiles, configuration

BROKER = Mosquitto(Path("/srv/citytally/mosquitto"), 51883)
DATABASE = PostgreSQL(Path("/srv/citytally/postgresql"), 55432)
LOG = Kafka(Path("/srv/citytally/kafka"), 59092, 59093)


def settings(text: str, separator: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    pairs = (line.partition(separator) for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def test_postgresql_trades_no_durability() -> None:
    told = settings(postgresql.configuration(DATABASE), "=")
    assert (told["fsync"], told["synchronous_commit"], told["full_page_writes"]) == ("on",) * 3


def test_postgresql_is_reached_over_loopback_with_a_password_only() -> None:
    told = settings(postgresql.configuration(DATABASE), "=")
    assert told["listen_addresses"] == "'127.0.0.1'"
    assert told["unix_socket_directories"] == "''"
    assert "password_encryption = scram-sha-256" in postgresql.configuration(DATABASE)


def test_the_superuser_password_is_no_argument() -> None:
    command = postgresql.initdb_command(DATABASE, Path("/srv/password"))
    assert "--pwfile=/srv/password" in command


def test_kafka_makes_no_topic_by_itself_and_listens_on_loopback() -> None:
    told = settings(kafka.configuration(LOG), "=")
    assert told["auto.create.topics.enable"] == "false"
    listeners = told["listeners"].split(",")
    assert all("://127.0.0.1:" in listener for listener in listeners)
    assert told["controller.quorum.voters"] == "1@127.0.0.1:59093"


def test_the_jars_may_be_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYTALLY_KAFKA_LIB", "/srv/jars")
    assert "/srv/jars/*" in LOG.program().command


def test_another_mosquitto_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYTALLY_MOSQUITTO", "/opt/mosquitto")
    assert BROKER.program().command[0] == "/opt/mosquitto"


def test_mosquitto_queues_without_limit_and_saves_by_the_clock() -> None:
    told = settings(mosquitto.configuration(BROKER), " ")
    assert told["max_inflight_messages"] == "65534"
    assert told["max_queued_messages"] == "0"
    assert told["autosave_interval"] == "5"
    assert told["autosave_on_changes"] == "false"
    assert told["allow_anonymous"] == "false"
    assert "persistent_client_expiration" not in told


def test_a_device_may_write_its_own_topic_only() -> None:
    rules = mosquitto.access_rules(("citytally/#",))
    assert [line for line in rules.splitlines() if line.startswith("pattern")] == [
        "pattern write citytally/v1/+/%u"
    ]
    assert rules.splitlines()[0] == "user gateway"


def test_a_password_is_kept_as_its_hash() -> None:
    salt = bytes(range(12))
    kind, iterations, kept_salt, digest = mosquitto.password_hash("secret", salt).split("$")[1:]
    assert (kind, iterations) == ("7", "101")
    assert base64.b64decode(kept_salt) == salt
    expected = hashlib.pbkdf2_hmac("sha512", b"secret", salt, 101)
    assert base64.b64decode(digest) == expected


def test_a_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    made = secret(tmp_path / "secrets", "postgresql")
    assert secret(tmp_path / "secrets", "postgresql") == made
    assert secret(tmp_path / "secrets", "gateway") != made
    assert (tmp_path / "secrets" / "postgresql").stat().st_mode & 0o777 == 0o600
    names = {path.name for path in (tmp_path / "secrets").iterdir()}
    assert names == {"gateway", "postgresql"}


def test_a_command_that_fails_says_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"sh failed \(3\): no room"):
        run(["sh", "-c", "echo no room >&2; exit 3"], tmp_path)


def test_a_free_port_can_be_listened_on() -> None:
    assert ports.is_free(ports.free_port())


def test_a_folder_is_used_as_it_is_by_whoever_we_are() -> None:
    assert ownership.reachable_directory(Path("/root/state"), None) == Path("/root/state")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as somebody else")
def test_a_folder_behind_a_closed_door_is_moved_to_the_users_home(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    moved = ownership.reachable_directory(tmp_path / "postgresql", "nobody")
    assert not moved.is_relative_to(tmp_path)
    assert moved == ownership.reachable_directory(tmp_path / "postgresql", "nobody")


def parsed(programs: list[Program], state: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(configuration(SupervisorFiles(state), programs))
    return parser


def test_a_program_is_restarted_and_stopped_as_it_wishes(tmp_path: Path) -> None:
    program = Program(
        "ingest-0",
        ("citytally-ingest", "--note", "100 % of it"),
        tmp_path,
        environment={"CITYTALLY_SLOT": "0"},
        stop_signal=signal.SIGINT,
    )
    section = parsed([program], tmp_path)["program:ingest-0"]
    assert section["autorestart"] == "true"
    assert section["stopsignal"] == "INT"
    assert section["environment"] == 'CITYTALLY_SLOT="0"'
    assert shlex.split(section["command"])[-3:] == ["citytally-ingest", "--note", "100 % of it"]


def test_what_would_be_cut_off_as_a_comment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="comment"):
        configuration(SupervisorFiles(tmp_path), [Program("a", ("a ;b",), tmp_path)])


def test_a_socket_with_too_long_a_path_is_made_elsewhere(tmp_path: Path) -> None:
    assert SupervisorFiles(Path("/srv")).socket == Path("/srv/supervisor.sock")
    deep = SupervisorFiles(tmp_path / ("x" * 120)).socket
    assert len(str(deep)) < 100
