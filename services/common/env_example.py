"""``deploy/citytally.env.example``: every setting with its default and what it means.

Written by ``python -m services.common.env_example > deploy/citytally.env.example``.
"""

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from services.common.settings import PREFIX, Settings

_HEAD = """\
# Every setting of citytally with its default. Take the `# ` from a line to change it, and load the
# file into the environment of the services. Passwords are files in the secrets directory, never
# settings. Written by `python -m services.common.env_example`.
"""
_WIDTH = 98


def text() -> str:
    """Return the whole file, settings in the order of their declaration."""
    return _HEAD + "".join(_entries())


def _entries() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        lines = textwrap.wrap(field.description or "", _WIDTH)
        meaning = "".join(f"# {line}\n" for line in lines)
        yield f"\n{meaning}# {PREFIX}{name.upper()}={_default(field)}\n"


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is None:
        return ""
    return str(default) if isinstance(default, str | Path) else json.dumps(default)


if __name__ == "__main__":
    sys.stdout.write(text())
