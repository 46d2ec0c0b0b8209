"""Where the stack that runs is, for other commands to find: a file in its state directory."""

from services.common.settings import PREFIX, RUNNING_SETTINGS, Settings
from services.operations.local.layout import changed
from services.operations.stack import ownership

_HEAD = "# Written by `citytally up`, removed by `citytally down`; what the stack here runs with.\n"


def publish(settings: Settings) -> None:
    """Write the settings that are not at their default."""
    ownership.write_private(settings.state_directory / RUNNING_SETTINGS, _text(settings), user=None)


def differ(settings: Settings) -> bool:
    """Whether other settings than these are published here."""
    path = settings.state_directory / RUNNING_SETTINGS
    return path.exists() and path.read_text(encoding="utf-8") != _text(settings)


def withdraw(settings: Settings) -> None:
    """Remove the file; the settings' defaults and the environment count again."""
    (settings.state_directory / RUNNING_SETTINGS).unlink(missing_ok=True)


def _text(settings: Settings) -> str:
    told = changed(settings)
    told.pop(f"{PREFIX}STATE_DIRECTORY", None)  # it is where the file stands
    return _HEAD + "".join(f"{name}='{value}'\n" for name, value in told.items())
