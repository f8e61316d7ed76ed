"""A proxy before PostgreSQL that stops forwarding a connection at the boundary of any message, and
keeps both of its ends open, as a network that drops packets does: no FIN arrives."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path


class Flow:
    """One direction of a connection: counts whole messages."""

    def __init__(self, *, is_client: bool) -> None:
        self.messages = 0
        self._buffer = b""
        self._is_startup = is_client

    def take(self, data: bytes, most: int | None) -> bytes:
        """What may be forwarded: whole messages, until there have been `most` (None: all)."""
        self._buffer += data
        taken = b""
        while most is None or self.messages < most:
            head = 4 if self._is_startup else 5
            if len(self._buffer) < head:
                break
            [length] = struct.unpack("!I", self._buffer[head - 4 : head])
            size = length if self._is_startup else length + 1
            if len(self._buffer) < size:
                break
            taken, self._buffer = taken + self._buffer[:size], self._buffer[size:]
            self._is_startup = False
            self.messages += 1
        return taken


# (number of the connection, "client" or "server", application_name) → after how many messages of
# that side the connection is frozen; None: never.
Plan = Callable[[int, str, str], int | None]


class Proxy:
    """Listens on loopback, forwards to a Unix socket."""

    def __init__(self, target: Path, plan: Plan) -> None:
        self._target = target
        self.plan = plan
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.frozen = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(str(self._target))
                except OSError:
                    # PostgreSQL is down: refuse this connection, and go on accepting others.
                    client.close()
                    server.close()
                    continue
                self._open += [client, server]
                number, self.connections = self.connections, self.connections + 1
                threading.Thread(
                    target=self._forward, args=(number, client, server), daemon=True
                ).start()

    def _forward(self, number: int, client: socket.socket, server: socket.socket) -> None:
        try:
            # The client's first message holds its name.
            name = _name(client.recv(65_536, socket.MSG_PEEK))
        except OSError:
            client.close()
            server.close()
            return
        flows = {
            client: (Flow(is_client=True), server, self.plan(number, "client", name)),
            server: (Flow(is_client=False), client, self.plan(number, "server", name)),
        }
        try:
            while True:
                readable, _, _ = select.select(list(flows), [], [])
                for one in readable:
                    flow, other, most = flows[one]
                    data = one.recv(65_536)
                    if not data:
                        client.close()
                        server.close()
                        return
                    other.sendall(flow.take(data, most))
                    if most is not None and flow.messages >= most:
                        # From now on nothing comes through, and neither side is informed.
                        self.frozen += 1
                        return
        except (OSError, ValueError):
            # A reset, or closed sockets: the other side has to notice, too.
            client.close()
            server.close()

    def close(self) -> None:
        """End everything, frozen or not."""
        self._listener.close()
        for one in self._open:
            one.close()


def _name(startup: bytes) -> str:
    """The application_name of a client's first message."""
    _, _, found = startup.partition(b"application_name\0")
    return found.partition(b"\0")[0].decode(errors="replace")
