from pathlib import Path

import pytest

from schemas import generate


def test_generated_files_say_what_the_contracts_say() -> None:
    assert generate.outdated() == [], "run python -m schemas.generate"


def test_nothing_generated_is_left_over() -> None:
    folder = generate.ROOT / "schemas" / "generated"
    kept = {path.relative_to(generate.ROOT) for path in folder.iterdir()}
    assert kept <= generate.generated().keys()


def test_an_outdated_file_is_named(tmp_path: Path) -> None:
    generate.write(tmp_path)
    assert generate.outdated(tmp_path) == []
    (tmp_path / "docs" / "data-dictionary.md").write_text("edited by hand", encoding="utf-8")
    assert generate.outdated(tmp_path) == [Path("docs/data-dictionary.md")]


def test_check_answers_by_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0
    assert generate.main(["--frobnicate"]) == 2
    assert "usage" in capsys.readouterr().err
