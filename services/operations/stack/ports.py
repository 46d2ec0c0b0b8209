"""Ports of the loopback interface."""

import socket

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on, chosen by the kernel."""
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
