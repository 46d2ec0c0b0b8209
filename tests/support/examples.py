"""The examples beside the schemas: one message each, with the rule that it shows."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import schemas
from schemas.messages import Message
from services.decoding.judging import Device
from services.decoding.times import parse_rfc3339
from services.operations.checking import check_message, device_of_row

FOLDER = Path(schemas.__file__).parent / "examples"
FIELDS = {"rule", "topic", "payload", "received_at", "device", "expect"}
HEADERS = {"oversize", "refused"}


@dataclass(frozen=True)
class Example:
    name: str
    fields: dict[str, Any]

    @property
    def expected(self) -> dict[str, Any]:
        expected: dict[str, Any] = self.fields["expect"]
        return expected

    @property
    def payload(self) -> bytes:
        payload = self.fields["payload"]
        return (
            base64.b64decode(payload["base64"]) if isinstance(payload, dict) else payload.encode()
        )

    @property
    def message(self) -> Message:
        received_at = self.fields["received_at"]
        return Message(
            self.fields["topic"],
            self.payload,
            parse_rfc3339(received_at) if received_at else None,
            oversize=self.fields.get("oversize"),
            refused=self.fields.get("refused"),
        )

    @property
    def device(self) -> Device | None:
        row = self.fields["device"]
        return device_of_row(json.dumps(row).encode(), "UTC") if row else None

    def checked(self) -> dict[str, Any]:
        return check_message(self.message, device=self.device)


def examples(folder: str) -> list[Example]:
    """All examples of ``valid`` or ``invalid``, by name."""
    return [
        Example(path.stem, json.loads(path.read_text(encoding="utf-8")))
        for path in sorted((FOLDER / folder).glob("*.json"))
    ]
