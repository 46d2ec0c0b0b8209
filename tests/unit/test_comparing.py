"""Two revisions held against each other: the ratio within pairs, and what its spread allows."""

import subprocess
from pathlib import Path

import pytest

from services.operations.benchmarking import comparing, documenting, report
from services.operations.benchmarking.comparing import Comparison, Outcome, Pair, Wanted
from services.operations.benchmarking.counting import BenchError

WANTED = Wanted("single", 300, 1_000, pairs=3)


def comparison(*ratios: float) -> Comparison:
    base = Outcome(1000, {"kafka": 8.0, "ingest-0": 12.0})
    pairs = [Pair(base, Outcome(1000 * each, {"kafka": 8.0, "ingest-0": 6.0})) for each in ratios]
    return Comparison("old", "new", "single", 300, pairs)


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ((1.2, 1.1, 1.3, 1.2, 1.2), "ratio 1.200, from 1.100 to 1.300: faster in every pair"),
        ((0.7, 0.9, 0.8, 0.8, 0.8), "ratio 0.800, from 0.700 to 0.900: slower in every pair"),
        ((0.9, 1.2, 1.1, 1.1, 1.1), "ratio 1.100, from 0.900 to 1.200: no difference"),
        ((1.5, 1.5), "ratio 1.500, from 1.500 to 1.500: it takes 5 pairs"),
    ],
)
def test_a_difference_is_one_only_if_every_pair_shows_it(
    ratios: tuple[float, ...], said: str
) -> None:
    assert comparison(*ratios).sentence().startswith(said)


def test_cpu_is_told_by_process_and_altogether() -> None:
    found = comparison(1.1, 1.2).cpu_us()
    assert found == {"kafka": (8.0, 8.0), "ingest-0": (12.0, 6.0), "all": (20.0, 14.0)}


def test_both_run_in_turn_and_take_turns_at_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run_once(place: Path, _wanted: Wanted) -> Outcome:
        ran.append("here" if place == comparing.PROJECT else "base")
        return Outcome(2.0 if ran[-1] == "here" else 1.0, {})

    monkeypatch.setattr(comparing, "run_once", run_once)
    found = comparing.compare("HEAD", WANTED, lambda _said: None)

    assert ran == ["base", "here", "here", "base", "base", "here"]
    assert found.ratios == [2.0, 2.0, 2.0]


def test_a_checkout_is_the_revision_and_is_gone_afterwards() -> None:
    with comparing.checkout("HEAD") as place:
        assert (place / "services" / "cli" / "main.py").exists()
    assert not place.exists()
    listed = subprocess.run(
        ["git", "worktree", "list"], cwd=comparing.PROJECT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert str(place) not in listed.stdout


def test_a_revision_that_is_none_has_no_figure() -> None:
    with pytest.raises(BenchError, match="no-such-revision"):
        comparing.compare("no-such-revision", WANTED, lambda _said: None)


def test_figures_are_written_between_the_markers_only(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{documenting.BEGIN}\nold\n{documenting.END}\nafter\n")
    report.write(tmp_path, {
        "conditions": {
            "measured_at": "2026-11-24", "revision": "abc", "versions": {}, "durability": {},
            "machine": {"cores": 2, "processor": "x", "memory_gib": 4, "load_before": 0.1},
        },
        "devices": 300, "per_s": 1000.0,
        "processes": [{"name": "ingest-0", "cpu_us_per_message": 9.0, "parts": [
            {"name": "storage.packing.pack", "share": 0.5, "us_per_message": 4.5}]}],
    }, report.PROFILE_FILE)  # fmt: skip

    documenting.fill(document, tmp_path)

    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{documenting.END}\nafter\n")
    assert "old" not in text
    assert "| ingest-0 | `storage.packing.pack` | 50% | 4.50 |" in text


def test_without_a_result_or_markers_nothing_is_written(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("no markers")
    with pytest.raises(BenchError, match="lacks"):
        documenting.fill(document, tmp_path)
    document.write_text(f"{documenting.BEGIN}\n{documenting.END}\n")
    with pytest.raises(BenchError, match="nothing was measured"):
        documenting.fill(document, tmp_path)
