"""The formats of recorded files, by the name that ``citytally replay`` takes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from services.operations.replaying import citypulse, sensor_community, telstra
from services.operations.replaying.recording import Recording

Read = Callable[[Sequence[Path]], Recording]

FORMATS: Mapping[str, Read] = {
    "sensor-community": sensor_community.read,
    "citypulse": citypulse.read,
    "telstra": telstra.read,
}
"""One reader a format; to add one: a module of its own and a line here."""
