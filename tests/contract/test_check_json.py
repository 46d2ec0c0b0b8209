"""The JSON of ``citytally check --json`` is a contract: fields, their order, form of times."""

import json
from pathlib import Path
from typing import Protocol

import pytest
import typer
from typer.testing import CliRunner, Result

from services.cli.check import check_command

ENVIRONMENTAL = "citytally/v1/environmental/station-1"
SOUND = '{"time": "2024-01-22T07:06:25.054Z", "temperature_c": 19.9, "co_ugm3": 5e6}'
SOUND_ANSWER = (
    '{"convention": "native", "outcome": "readings", "reason": null, "detail": null, '
    '"path": null, "position": null, "health": {}, "readings": [{"kind": "environmental", '
    '"device_id": "station-1", "part": "", "time": "2024-01-22T07:06:25.054Z", '
    '"time_source": "device", "interval_s": null, "values": {"temperature_c": 19.9}, '
    '"texts": {}, "flags": {"co_ugm3": {"flag": 4, "why": "outside physical bounds", '
    '"original": 5000000.0, "original_unit": "\\u00b5g/m\\u00b3"}}, "extra": {}, '
    '"reason": null, "detail": null, "path": null}]}\n'
)


class Run(Protocol):
    """Run the command on a payload of standard input."""

    def __call__(self, *arguments: str, payload: str | bytes = SOUND) -> Result: ...


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command("check")(check_command)
    runner = CliRunner()

    def invoke(*arguments: str, payload: str | bytes = SOUND) -> Result:
        return runner.invoke(app, ["--topic", ENVIRONMENTAL, *arguments], input=payload)

    return invoke


def test_the_answer_has_exactly_these_fields_in_this_order(run: Run) -> None:
    result = run("--json")
    assert result.stdout == SOUND_ANSWER
    assert result.exit_code == 0


def test_a_malformed_message_is_told_by_its_byte_position(run: Run) -> None:
    result = run("--json", payload=b'{"time": \xff}')
    answer = json.loads(result.stdout)
    assert list(answer)[:6] == ["convention", "outcome", "reason", "detail", "path", "position"]
    assert (answer["outcome"], answer["reason"]) == ("quarantined", "malformed")
    assert (answer["position"], answer["readings"]) == (9, [])
    assert result.exit_code == 1


def test_reasons_stand_at_the_readings(run: Run) -> None:
    answer = json.loads(run("--json", payload='[{"time": 0}, {"time": "noon"}]').stdout)
    assert (answer["outcome"], answer["reason"]) == ("readings", None)
    assert [reading["reason"] for reading in answer["readings"]] == [None, "schema"]
    assert answer["readings"][1]["path"] == "[1].time"


def test_lateness_and_future_are_judged_only_when_their_facts_are_given(
    run: Run, tmp_path: Path
) -> None:
    row = tmp_path / "device.json"
    row.write_text('{"device_id": "station-1", "data_from": "2024-02-01T00:00:00Z", "site": 7}')
    assert run().exit_code == 0
    assert "future_time" in run("--received-at", "2024-01-22T07:00:00Z", "--json").stdout
    assert "too_old" in run("--device", str(row), "--json").stdout


def test_a_message_that_the_gateway_would_hold_back_is_too_large(run: Run) -> None:
    result = run("--json", payload=b'{"time": "' + b"x" * 300_000)
    assert json.loads(result.stdout)["reason"] == "too_large"


def test_a_person_reads_reason_place_and_flag(run: Run) -> None:
    refused = run(payload='{"time": "2024-01-22T07:06:25", "temperature_c": 1}')
    assert "schema at time: a time without zone" in refused.stdout
    assert refused.exit_code == 1
    assert "outside physical bounds" in run().stdout
    assert "without values" in run(payload='{"time": 0}').stdout
    assert "quarantined" in run(payload="").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--received-at", "yesterday"),
        ("--received-at", "2024-01-22T07:00:00"),
        ("absent.json",),
        ("--device", "absent.json"),
        ("--frobnicate",),
    ],
)
def test_wrong_usage_is_exit_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "row", ["", "[]", '{"device_id": "a b"}', '{"device_id": "a", "data_from": "2024-01-01T00:00"}']
)
def test_a_registry_row_that_is_none_is_exit_2(run: Run, tmp_path: Path, row: str) -> None:
    (tmp_path / "device.json").write_text(row)
    assert run("--device", "device.json").exit_code == 2


def test_any_topic_is_answered(run: Run) -> None:
    result = run("--topic", "caf\udce9/[bold]", "--json")
    assert json.loads(result.stdout)["reason"] == "unknown_topic"
    assert "unknown_topic" in run("--topic", "[/bold]").stdout
