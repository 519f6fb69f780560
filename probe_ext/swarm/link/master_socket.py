"""The master's side of the connections to its workers, with a bound on all that a stranger can make it keep.

It takes the place of ZeroMQ's ROUTER socket, which cannot be bounded: what a second connection in a taken name sends
is kept for good, and a message of endless parts is collected without a limit. Workers keep their ZeroMQ sockets.

Here, a connection holds at most one unread message, and as long as its name is not known to be a worker's, a small one;
a name has one connection; strangers' connections are limited in number, shared out among their networks, and all of
them together speak slowly, so that a flood takes neither the memory nor the attention from the workers.
"""

import errno
import os
import socket as stdlib_socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket
from gevent.lock import BoundedSemaphore
from gevent.queue import Queue
from gevent.server import StreamServer

from probe_ext.swarm.link import zmtp
from probe_ext.swarm.link.peer_networks import first_of_busiest, network_of

HANDSHAKE_TIMEOUT_S = 10.0
MAX_MESSAGE_BYTES = 32 * 1024 * 1024  # a worker's batch stays below 10 MiB even with thousands of half-hour replies
MAX_STRANGER_MESSAGE_BYTES = 16 * 1024  # a small message may decode to 60 times its size
MAX_STRANGERS = 256
_STRANGER_PAUSE_S = 0.001  # after each message of any stranger
_MAX_UNSENT_BYTES = 16 * 1024 * 1024
_MAX_UNSENT_STRANGER_BYTES = 256 * 1024
_MAX_UNREAD = 16
_BACKLOG = 1000
_READ_BYTES = 64 * 1024
_KEEPALIVE_IDLE_S = 30  # as Locust sets it

Received = tuple[str, bytes | None]
"""the peer's name, and its message; None if that was too large or had several parts"""


class MasterSocket:
    """Listens at once; OSError if it cannot.

    `is_member`: whether a name is that of a worker that takes part. None: workers prove it, and `trust` is told.
    """

    def __init__(self, host: str, port: int, is_member: Callable[[str], bool] | None) -> None:
        self._is_member = is_member
        self._unread: Queue[Received] = Queue(_MAX_UNREAD)
        self._open: dict[_Connection, None] = {}
        """oldest first"""
        self._named: dict[str, _Connection] = {}
        self._turnstile = BoundedSemaphore()
        self._servers = []
        for listener in _listeners(host, port):
            self.port: int = listener.getsockname()[1]
            self._servers.append(StreamServer(listener, self._serve))
            self._servers[-1].start()

    def receive(self) -> Received:
        """Wait for the next message."""
        return self._unread.get()

    def send(self, name: str, message: bytes) -> None:
        """Send a message. Like ZeroMQ, drop it if the peer is gone or does not read."""
        if connection := self._named.get(name):
            connection.send(message, _MAX_UNSENT_BYTES if self._trusts(connection) else _MAX_UNSENT_STRANGER_BYTES)

    def trust(self, name: str) -> None:
        """Note that this name's peer has proven that it is a worker."""
        if connection := self._named.get(name):
            connection.is_proven = True

    def close(self) -> None:
        """Stop listening, and end all connections."""
        for server in self._servers:
            server.stop(timeout=0)
        for connection in list(self._open):
            connection.close()

    def _trusts(self, connection: "_Connection") -> bool:
        return connection.is_proven if self._is_member is None else self._is_member(connection.name)

    def _serve(self, sock: Any, address: Any) -> None:
        connection = _Connection(sock, network_of(address[0]))
        self._open[connection] = None
        self._make_room()
        try:
            with gevent.Timeout(HANDSHAKE_TIMEOUT_S, zmtp.ProtocolError("too slow")):
                name = connection.shake_hands()
            if self._may_take(name):
                connection.name = name
                self._named[name] = connection
                self._read(connection)
        except (OSError, zmtp.ProtocolError):
            pass
        finally:
            connection.close()
            self._open.pop(connection, None)
            if self._named.get(connection.name) is connection:
                del self._named[connection.name]

    def _may_take(self, name: str) -> bool:
        """Whether a newcomer gets this name. Its holder keeps it, unless it should have proven that it is a worker."""
        holder = self._named.get(name)
        if holder is not None and not holder.is_closed:
            if self._is_member is not None or holder.is_proven:
                return False
            holder.close()
        return True

    def _read(self, connection: "_Connection") -> None:
        def kept() -> int:
            return MAX_MESSAGE_BYTES if self._trusts(connection) else MAX_STRANGER_MESSAGE_BYTES

        while True:
            try:
                message = zmtp.read_message(connection.read, kept, MAX_MESSAGE_BYTES)
            except zmtp.ProtocolError:
                self._deliver(connection, None)
                raise
            self._deliver(connection, message)

    def _deliver(self, connection: "_Connection", message: bytes | None) -> None:
        if self._trusts(connection):
            self._unread.put((connection.name, message))
            return
        with self._turnstile:
            self._unread.put((connection.name, message))
            gevent.sleep(_STRANGER_PAUSE_S)

    def _make_room(self) -> None:
        """End the oldest connection of the network with the most strangers, if there are too many."""
        strangers = [connection for connection in self._open if not self._trusts(connection)]
        if len(strangers) > MAX_STRANGERS:
            oldest = first_of_busiest(strangers)
            oldest.close()
            self._open.pop(oldest)


class _Connection:
    """One peer's connection."""

    def __init__(self, sock: Any, network: str) -> None:
        self.network = network
        self.name = ""
        self.is_proven = self.is_closed = False
        self._sock = sock
        self._buffer = bytearray()
        self._unsent: Queue[bytes] = Queue()
        self._unsent_bytes = 0
        self._reader: Any = gevent.getcurrent()
        self._writer: Any = None

    def shake_hands(self) -> str:
        """Return the peer's name."""
        sock = self._sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
        sock.sendall(zmtp.GREETING)
        name = zmtp.read_name(self.read)
        sock.sendall(zmtp.ready())
        self._writer = gevent.spawn(self._write)
        return name

    def read(self, size: int) -> bytes:
        """Return exactly this many bytes."""
        buffer = self._buffer
        while len(buffer) < size:
            data = self._sock.recv(_READ_BYTES)
            if not data:
                raise ConnectionError("closed by the peer")
            buffer += data
        content = bytes(buffer[:size])
        del buffer[:size]
        return content

    def send(self, message: bytes, limit: int) -> None:
        """Send a message soon, unless that many bytes wait already."""
        if self._unsent_bytes and self._unsent_bytes + len(message) > limit:
            return
        self._unsent_bytes += len(message)
        self._unsent.put(message)

    def _write(self) -> None:
        with suppress(OSError):
            for message in self._unsent:
                self._sock.sendall(zmtp.framed(message))
                self._unsent_bytes -= len(message)
        self.close()

    def close(self) -> None:
        """End the connection, and whoever reads from it or writes to it."""
        if self.is_closed:
            return
        self.is_closed = True
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for greenlet in (self._reader, self._writer):
            if greenlet is not None and greenlet is not gevent.getcurrent():
                greenlet.kill(block=False)


def _listeners(host: str, port: int) -> list[Any]:
    """Return sockets that listen on all addresses of a host; on all of this machine for an empty one and `*`."""
    found, error = [], OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, address, dual in _addresses(host, port):
        try:
            raw = stdlib_socket.create_server((address, port), family=family, backlog=_BACKLOG, dualstack_ipv6=dual)
        except OSError as problem:
            if problem.errno == errno.EADDRINUSE:
                raise
            error = problem  # a machine may know addresses that it does not have, as ::1 without IPv6
            continue
        found.append(socket.socket(raw.family, raw.type, raw.proto, fileno=raw.detach()))
        port = found[0].getsockname()[1]
        if dual:
            break
    if not found:
        raise error
    return found


def _addresses(host: str, port: int) -> list[tuple[Any, str, bool]]:
    """Return the families and addresses to listen on, and whether that includes IPv4 on an IPv6 socket."""
    if host in {"", "*"}:
        both = [(socket.AF_INET6, "", True)] if stdlib_socket.has_dualstack_ipv6() else []
        return [*both, (socket.AF_INET, "", False)]
    found = stdlib_socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, str(address[0]), False) for family, _, _, _, address in found))
