"""Drives a paho client's socket from the event loop, and leaves it unread when told to."""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import cast

from paho.mqtt.client import Client

from services.common.mqtt import keep_alive_by_tcp
from services.common.publish_packets import DISCONNECT
from services.gateway.client import PublishClient

_DISCARD_BYTES = 256 * 1024


class Connection:
    """Joins one client to one event loop by paho's external-loop hooks.

    The socket is read while the client has room; ``on_pause`` is called when it has none.
    """

    def __init__(
        self,
        client: PublishClient,
        on_pause: Callable[[], None],
    ) -> None:
        self._client = client
        self._on_pause = on_pause
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._reads = False
        self._written = asyncio.Event()
        client.on_socket_open = self._on_open
        client.on_socket_close = self._on_close
        client.on_socket_register_write = self._on_wants_to_write
        client.on_socket_unregister_write = self._on_has_written

    def resume_reading(self) -> None:
        """Read again if the socket was left unread for want of room."""
        if self._socket is None or self._reads or self._client.room() <= 0:
            return
        self._loop.add_reader(self._socket, self._read)
        self._reads = True
        if self._client.holds_bytes:  # no readiness of the socket will announce them
            self._loop.call_soon(self._read_what_is_held)

    def _read_what_is_held(self) -> None:
        if self._reads:
            self._read()

    def stop_reading(self) -> None:
        """Read no more on any connection."""
        self._client.room = lambda: 0
        self._pause_reading()

    def is_closed_by_peer(self) -> bool:
        """Whether the broker has closed a connection that is left unread, and so unnoticed."""
        if self._socket is None or self._reads:
            return False
        poller = select.poll()
        poller.register(self._socket, select.POLLRDHUP)
        return bool(poller.poll(0))

    def release(self) -> None:
        """Take the socket out of the event loop; called in its thread before paho closes it."""
        if self._socket is None:
            return
        self._pause_reading()
        self._loop.remove_writer(self._socket)
        self._socket = None

    async def finish(self) -> None:
        """Close the connection so that the broker reads all that it was sent.

        Closing a socket with unread data resets it, and acknowledgements that the broker had not
        read yet would be lost: so say goodbye, close one half, and read to the end.
        """
        if self._client.want_write():
            self._written.clear()
            await self._written.wait()
        sock = self._socket
        self.release()
        if sock is not None:
            await self._loop.sock_sendall(sock, DISCONNECT)
            sock.shutdown(socket.SHUT_WR)
            await self._read_to_the_end(sock)
            self._client.connection_ended()

    async def _read_to_the_end(self, sock: socket.socket) -> None:
        try:
            while await self._loop.sock_recv(sock, _DISCARD_BYTES):
                pass
        except ConnectionResetError:
            return  # the broker closed with data on its way to us, which comes again

    def _pause_reading(self) -> None:
        if self._reads and self._socket is not None:
            self._loop.remove_reader(self._socket)
        self._reads = False

    def _read(self) -> None:
        self._client.loop_read()
        if self._client.room() <= 0:
            self._pause_reading()
            self._on_pause()

    def _write(self) -> None:
        self._client.loop_write()

    # paho calls these in the thread that connects, or in the loop's: hence `call_soon_threadsafe`.

    def _on_open(self, _client: Client, _userdata: object, sock: object) -> None:
        plain = cast("socket.socket", sock)
        keep_alive_by_tcp(plain)
        self._loop.call_soon_threadsafe(self._adopt, plain)

    def _adopt(self, sock: socket.socket) -> None:
        self._socket = sock
        self.resume_reading()
        if self._client.want_write():
            self._loop.add_writer(sock, self._write)

    def _on_wants_to_write(self, _client: Client, _userdata: object, _sock: object) -> None:
        self._loop.call_soon_threadsafe(self._add_writer)

    def _add_writer(self) -> None:
        if self._socket is not None and self._client.want_write():
            self._loop.add_writer(self._socket, self._write)

    def _on_has_written(self, _client: Client, _userdata: object, _sock: object) -> None:
        self._written.set()
        if self._socket is not None:
            self._loop.remove_writer(self._socket)

    def _on_close(self, _client: Client, _userdata: object, _sock: object) -> None:
        self.release()
