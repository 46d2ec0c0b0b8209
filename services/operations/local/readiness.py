"""Whether a program does its work: a server answers its protocol, a service says so itself."""

import json
from http.client import HTTPConnection, HTTPException

from services.operations.local.layout import Layout
from services.operations.stack.ports import LOOPBACK

ANSWER_SECONDS = 2.0


def reason_not_ready(layout: Layout, name: str) -> str | None:
    """Return why a server or service is not ready, None when it is."""
    server = layout.servers().get(name)
    if server is not None:
        return None if server.is_ready() else "does not answer"
    return reason_of(ask(layout.health_ports()[name], "/readyz"))


def reason_of(body: bytes | None) -> str | None:
    """Read the answer of a service's ``/readyz``."""
    if body is None:
        return "does not answer"
    reason: str | None = json.loads(body)["reason"]
    return reason


def ask(port: int, path: str) -> bytes | None:
    """Return what a service answers, whatever its status; None where nobody does."""
    connection = HTTPConnection(LOOPBACK, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
