"""Never touch a server that we did not start: whose is a port that is in use?"""

from collections.abc import Iterable

import psutil

from services.common.settings import PREFIX
from services.operations.local.layout import Listener
from services.operations.stack import ports
from services.operations.stack.supervision import ProgramState


class PortTakenError(Exception):
    """Something else listens where a program of ours should; the message says what to change."""


def require_ports(listeners: Iterable[Listener], running: Iterable[ProgramState]) -> None:
    """Refuse to go on where a port is neither free nor our own program's.

    Raises:
        PortTakenError: naming every such port and the setting that changes it.
    """
    pids = {state.name: state.pid for state in running}
    taken = [
        one
        for one in listeners
        if not ports.is_free(one.port) and not _listens(pids.get(one.program), one.port)
    ]
    if taken:
        raise PortTakenError("; ".join(_sentence(one) for one in taken))


def _sentence(one: Listener) -> str:
    return (
        f"port {one.port} for {one.program} is in use by something that citytally did not start: "
        f"end that, or set {PREFIX}{one.setting}"
    )


def _listens(pid: int | None, port: int) -> bool:
    if pid is None:
        return False
    try:
        connections = psutil.Process(pid).net_connections("inet")
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        # Its program is ours and runs as another user: nobody else's can be on its port.
        return True
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        for connection in connections
    )
