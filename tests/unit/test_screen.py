"""The live screen and the plain lines: everything there, nothing wider than it may be."""

import io
from datetime import UTC, datetime

from rich.console import Console

from services.cli.lines import addresses, lines
from services.cli.screen import WIDTH, screen
from services.operations.watching.overview import Overview, Part
from services.operations.watching.rates import Flow
from services.storage.figures import Figures

HIGHEST = 35
BILLION = 1_234_567_890
REASONS = ("malformed", "unknown_device", "schema", "future_time", "conflict", "too_old", "no_time")


def part(name: str, *, is_server: bool = False, reason: str | None = None) -> Part:
    return Part(name, is_server, "running", reason, "127.0.0.1:51883", 1, 60)


def overview(
    *, figures: bool = True, reason: str | None = None, decoded: int = BILLION
) -> Overview:
    servers = [part(name, is_server=True) for name in ("mosquitto", "kafka", "postgresql")]
    services = [part(name, reason=reason) for name in ("gateway-0", "ingest-0", "ingest-1")]
    messages = {"received": BILLION, "undecodable": 0, "liveness": 0, "lost": 0}
    counted = Figures(
        messages=messages | {"decoded": decoded},
        readings={"decoded": BILLION, "written": BILLION},
        refused=7, quarantine={"open": 7}, open_by_reason=dict.fromkeys(REASONS, 1),
        rows=dict.fromkeys(("broadband", "environmental", "traffic"), BILLION),
        devices={"real": 300}, unacknowledged_gaps=0, positions={},
    )  # fmt: skip
    return Overview(
        datetime.now(UTC), [*servers, *services], Flow(15_000, 15_000, 15_000, 0.2, 0.4),
        received=1.0, in_flight=0, lag=0, figures=counted if figures else None,
    )  # fmt: skip


def drawn(seen: Overview) -> list[str]:
    console = Console(width=WIDTH, height=HIGHEST, file=io.StringIO(), record=True)
    console.print(screen(seen, [1.0, 2.0] * 60, "Ctrl-C ends"))
    return console.export_text().splitlines()


def test_large_figures_fit() -> None:
    screen_lines = drawn(overview())
    text = "\n".join(screen_lines)

    assert len(screen_lines) <= HIGHEST
    assert max(map(len, screen_lines)) <= WIDTH
    assert text.count("1 234 567 890") == 7
    assert "all is well" in text
    assert "…" not in text


def test_everything_wrong_at_once_still_fits() -> None:
    long = "database: ConnectionRefusedError(111, 'Connect call failed') " * 3
    screen_lines = drawn(overview(reason=long, decoded=0))

    assert len(screen_lines) <= HIGHEST
    assert max(map(len, screen_lines)) <= WIDTH
    assert any("the messages do not add up" in line for line in screen_lines)
    assert any("✗" in line and "messages" in line for line in screen_lines)


def test_without_a_database_the_rest_is_shown() -> None:
    text = "\n".join(drawn(overview(figures=False)))
    assert "PostgreSQL does not answer" in text
    assert "15 000 /s" in text


def test_plain_lines_say_the_same() -> None:
    text = "\n".join(lines(overview(reason="starting")))
    for said in ("gateway-0 starting", "15 000 messages/s", "1 234 567 890 received", "schema 1"):
        assert said in text
    assert "PROBLEM" in text
    assert len(list(addresses(overview()))) == 6
