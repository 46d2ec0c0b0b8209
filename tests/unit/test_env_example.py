"""The example of the environment names every setting, and no other."""

import re
from pathlib import Path

from services.common import env_example
from services.common.settings import PREFIX, Settings

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "citytally.env.example"


def test_it_is_what_the_settings_say() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == env_example.text()


def test_it_names_every_setting_once_and_no_other() -> None:
    named = re.findall(rf"^# {PREFIX}([A-Z0-9_]+)=", env_example.text(), re.MULTILINE)
    assert named == [name.upper() for name in Settings.model_fields]


def test_every_setting_says_what_it_means() -> None:
    assert all(field.description for field in Settings.model_fields.values())
