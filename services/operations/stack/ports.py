"""Ports of the loopback interface."""

import secrets
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
FIRST = 10_000
KERNELS_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port that nobody listens on.

    Not one of those that the kernel gives to outgoing connections, where there are others: one of
    these could take it before whoever asked listens on it.
    """
    first_of_the_kernel = int(KERNELS_RANGE.read_text(encoding="ascii").split()[0])
    others = max(0, first_of_the_kernel - FIRST)
    port = FIRST + secrets.randbelow(others) if others else _any_port()
    return port if is_free(port) else free_port()


def _any_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """True when a server could listen on the port now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def ask(port: int, request: bytes, answer_size: int, timeout_s: float = 1.0) -> bytes:
    """The first `answer_size` bytes a server answers; fewer, or none, when it does not answer."""
    answer = b""
    try:
        with socket.create_connection((LOOPBACK, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(request)
            while len(answer) < answer_size:
                received = connection.recv(answer_size - len(answer))
                if not received:
                    break
                answer += received
    except OSError:
        return answer
    return answer
