"""One HTTP/1.1 connection, opened on the gevent hub; its responses are read by the reactor's thread."""

import errno
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gevent
import gevent.socket
from gevent.monkey import get_original

from probe_ext.client import kernel_receive
from probe_ext.client.address import Target
from probe_ext.client.response_stream import ResponseStream, SocketReader
from probe_ext.client.tls import TlsSession
from probe_ext.measure import clock

_LOCAL_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL}
"""limits of this machine: too many open files or sockets, no local port left"""


class SlowServerError(Exception):
    """The server did not accept the request's bytes in time."""


class ConnectError(Exception):
    """Connecting failed. `local`: a limit of this machine was the reason."""

    def __init__(self, message: str, *, local: bool = False, timed_out: bool = False) -> None:
        super().__init__(message)
        self.local = local
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class SetupTimes:
    """How long connecting took, in seconds."""

    connect: float
    tls: float | None


class Connection:
    """A connection to one target; established by `open`, then used for one reply after another."""

    def __init__(self, target: Target, tls_context: ssl.SSLContext | None) -> None:
        self._target = target
        self._tls_context = tls_context
        self._socket: socket.socket | None = None
        self._connecting: gevent.socket.socket | None = None
        self._stream: ResponseStream | None = None
        self._session: TlsSession | None = None
        self._read: SocketReader = kernel_receive.read_plain

    @property
    def stamped(self) -> bool:
        """Whether the kernel stamps what is received."""
        return self._read is kernel_receive.read_stamped

    def usable(self) -> bool:
        """Return whether a request can be sent: the connection is open, and the server sent nothing unexpected."""
        if self._socket is None:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def open(self, timeout: float) -> SetupTimes:
        """Resolve, connect and complete the TLS handshake within `timeout` seconds. ConnectError if that fails."""
        self.close()
        start = clock.monotonic()
        limit = gevent.Timeout(timeout)
        limit.start()
        try:
            self._socket = self._connect()
            connected = clock.monotonic()
            if kernel_receive.enable_timestamps(self._socket):
                self._read = kernel_receive.read_stamped
            if self._tls_context is None:
                return SetupTimes(connected - start, None)
            self._session = self._handshake(self._tls_context)
            return SetupTimes(connected - start, clock.monotonic() - connected)
        except gevent.Timeout as fired:
            self.close()
            if fired is not limit:
                raise
            raise ConnectError(f"no connection within {timeout:g} s", timed_out=True) from fired
        except OSError as error:
            self.close()
            reason = error.strerror or str(error)
            timed_out = isinstance(error, TimeoutError)
            raise ConnectError(reason, local=error.errno in _LOCAL_ERRORS, timed_out=timed_out) from error
        except UnicodeError as error:
            raise ConnectError(f"host name: {error}") from error
        except BaseException:
            self.close()
            raise
        finally:
            limit.close()

    def _connect(self) -> socket.socket:
        """Return a connected non-blocking socket. gevent waits while it resolves and connects."""
        failure = OSError("host name has no address")
        for family, kind, protocol, _, address in _resolve(self._target):
            try:
                return self._connect_to(gevent.socket.socket(family, kind, protocol), address)
            except OSError as error:
                failure = error
        raise failure

    def _connect_to(self, cooperative: gevent.socket.socket, address: Any) -> socket.socket:
        self._connecting = cooperative
        try:
            cooperative.connect(address)
            cooperative.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain: socket.socket = get_original("socket", "socket")(fileno=cooperative.detach())
        finally:
            self._connecting = None
            cooperative.close()
        plain.setblocking(False)
        return plain

    def _handshake(self, tls_context: ssl.SSLContext) -> TlsSession:
        session = TlsSession(tls_context, self._target)
        while not session.handshake():
            self._send_all(session.to_wire())
            wire = self._receive_some()
            if not wire:
                raise ConnectionError("the server closed the connection during the TLS handshake")
            session.feed(wire)
        self._send_all(session.to_wire())
        return session

    def _receive_some(self) -> bytes:
        sock = self._open_socket()
        while True:
            gevent.socket.wait_read(sock.fileno())
            try:
                return sock.recv(kernel_receive.READ_SIZE_BYTES)
            except BlockingIOError:  # readiness is only a hint
                continue

    def to_wire(self, request: bytes) -> bytes:
        """Return the bytes to send: encrypted here, before the clock starts. OSError if not connected."""
        self._open_socket()
        return request if self._session is None else self._session.encrypt(request)

    def send(self, wire: bytes, deadline: float) -> None:
        """Write a request to the socket.

        OSError if the connection is lost; SlowServerError if the server has not accepted everything by `deadline`
        (monotonic seconds).
        """
        self._send_all(wire, deadline)

    def _send_all(self, wire: bytes, deadline: float | None = None) -> None:
        sock = self._open_socket()
        rest = memoryview(wire)
        while rest:
            try:
                rest = rest[sock.send(rest) :]
            except BlockingIOError:
                _wait_until_writable(sock, deadline)

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("the connection is closed")
        return self._socket

    def receive(self, sent: float) -> ResponseStream:
        """Start reading the response to a request sent at `sent`."""
        self._stream = ResponseStream(self._open_socket(), self._read, self._session, sent)
        return self._stream

    def interrupt(self) -> None:
        """Make another greenlet's `open` or `send` fail now; name resolution cannot be interrupted."""
        if self._connecting is not None:
            self._connecting.close()  # gevent wakes its waiter
        elif self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close at once; it can be opened again."""
        if self._stream is not None:
            self._stream.stop()  # its descriptor may be reused soon
            self._stream = None
        if self._socket is not None:
            self._socket.close()
        self._socket = self._session = None


def _resolve(target: Target) -> list[Any]:
    """Return the target's addresses. Out of descriptors, a resolver blames the name: raise the real reason instead."""
    _check_descriptors()
    try:
        return list(gevent.socket.getaddrinfo(target.host, target.port, 0, socket.SOCK_STREAM))
    except OSError:
        _check_descriptors()
        raise


def _check_descriptors() -> None:
    """OSError unless two more files can be opened: one for the resolver, one for the connection."""
    for descriptor in os.pipe():
        os.close(descriptor)


def _wait_until_writable(sock: socket.socket, deadline: float | None) -> None:
    remaining = None if deadline is None else deadline - clock.monotonic()
    if remaining is not None and remaining <= 0:
        raise SlowServerError
    try:
        gevent.socket.wait_write(sock.fileno(), remaining)
    except TimeoutError as error:
        raise SlowServerError from error
