"""A service's own word on its health: ``/livez``, ``/readyz`` and ``/metrics`` on loopback.

Alive means that the main loop goes round; a supervisor restarts what is not. Ready means that the
service does its work now; not being ready is a state to wait out, with a reason.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


PATIENCE_S = 5.0
"""How long an answer may take before whoever waits for it is not ready."""


class Health:
    """What a service last said about itself; written by its loop, read by the server's thread."""

    def __init__(
        self, *, alive_for_s: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._alive_for_s = alive_for_s
        self._clock = clock
        self._ticked_at = clock()
        self._reason: str | None = "starting"
        self._waits: tuple[str, float] | None = None

    def tick(self) -> None:
        """Say that the main loop has gone round."""
        self._ticked_at = self._clock()

    def ready(self) -> None:
        """Say that the work is being done."""
        self._reason = None

    def not_ready(self, reason: str) -> None:
        """Say in a few words why the work waits."""
        self._reason = reason

    @contextmanager
    def waiting_for(self, whom: str) -> Iterator[None]:
        """Say whose answer is awaited: whoever hangs says nothing, so that the clock has to."""
        self._waits = whom, self._clock()
        try:
            yield
        finally:
            self._waits = None

    @property
    def reason(self) -> str | None:
        """Why the service is not ready; None when it is."""
        waits = self._waits
        if self._reason is not None or waits is None:
            return self._reason
        whom, since = waits
        waited = self._clock() - since
        return f"waiting for {whom} for {waited:.0f} s" if waited > PATIENCE_S else None

    def stalled_s(self) -> float | None:
        """Seconds since the main loop last went round if that is too long, else None."""
        silent = self._clock() - self._ticked_at
        return silent if silent > self._alive_for_s else None


class HealthServer:
    """Serves a ``Health`` and a registry over HTTP from a thread, while the context is open.

    ``port`` 0 takes a free one; ``port`` then tells which. Raises OSError when the port is taken.
    """

    def __init__(
        self, port: int, health: Health, registry: CollectorRegistry, host: str = "127.0.0.1"
    ) -> None:
        self._server = _ThreadedServer((host, port), _QuietHandler)
        self._server.set_app(_application(health, registry))
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that is served."""
        return self._server.server_port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _application(
    health: Health, registry: CollectorRegistry
) -> Callable[["WSGIEnvironment", "StartResponse"], Iterable[bytes]]:
    metrics: Any = make_wsgi_app(registry)

    def application(
        environment: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        match environment["PATH_INFO"]:
            case "/metrics":
                answer: Iterable[bytes] = metrics(environment, start_response)
                return answer
            case "/livez":
                return _answer(start_response, _liveness_fault(health))
            case "/readyz":
                return _answer(start_response, health.reason)
            case _:
                start_response("404 Not Found", [("Content-Length", "0")])
                return []

    return application


def _liveness_fault(health: Health) -> str | None:
    stalled = health.stalled_s()
    return None if stalled is None else f"the main loop has not gone round for {stalled:.0f} s"


def _answer(start_response: "StartResponse", reason: str | None) -> Iterable[bytes]:
    body = json.dumps({"ok": reason is None, "reason": reason}).encode()
    status = "200 OK" if reason is None else "503 Service Unavailable"
    start_response(
        status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    )
    return [body]


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the base's name
        """Say nothing: a scrape every few seconds is no event."""
