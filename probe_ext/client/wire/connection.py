"""One HTTP/1.1 connection, opened on the gevent hub; its responses are read by the reactor's thread."""

import errno
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass

import gevent
import gevent.socket

from probe_ext.client.wire import kernel_receive
from probe_ext.client.wire.address import Target
from probe_ext.client.wire.dialing import Dialing, Dialled
from probe_ext.client.wire.native import native_stream
from probe_ext.client.wire.native.native_extension import NATIVE, reading_path
from probe_ext.client.wire.native.native_stream import NativeStream
from probe_ext.client.wire.response_stream import ResponseStream, SocketReader
from probe_ext.client.wire.tls import TlsSession
from probe_ext.measure import clock
from probe_ext.tls_trust import TlsFileError, why_refused

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

    resolve: float
    connect: float
    """name resolution included"""
    tls: float | None


class Connection:
    """A connection to one target; established by `open`, then used for one reply after another."""

    def __init__(self, target: Target, tls_context: ssl.SSLContext | TlsFileError | None) -> None:
        """`tls_context`: None for plain HTTP, or why no TLS is possible on this machine."""
        self._target = target
        self._tls_context = tls_context
        self._socket: socket.socket | None = None
        self._dialing: Dialing | None = None
        self._stream: ResponseStream | NativeStream | None = None
        self._session: TlsSession | None = None
        self._segments: int | None = None
        """as last counted; None if that may have changed"""
        self._read: SocketReader = kernel_receive.read_plain
        self.reading_path: str | None = None
        """which path reads the responses, and why (`native_extension`); None before the first connection"""

    @property
    def stamped(self) -> bool:
        """Whether the kernel stamps what is received."""
        return self._read is kernel_receive.read_stamped

    def count_segments(self) -> int | None:
        """Return the TCP segments with data received so far; None where that is not known."""
        self._segments = None if self._socket is None else kernel_receive.received_segments(self._socket)
        return self._segments

    @property
    def segments_before_request(self) -> int | None:
        """The same as of now, just before a request is sent; `usable` may have found that it has not changed."""
        return self.count_segments() if self._segments is None else self._segments

    def _choose_path(self) -> str:
        path = reading_path(tls=self._session is not None)
        if path == NATIVE and not self.stamped:
            return "python: no kernel timestamps"
        if path == NATIVE and self._session is not None and self._session.native is None:
            return "python: TLS: its keys are logged"
        return path

    def usable(self) -> bool:
        """Return whether a request can be sent: the connection is open, and the server sent nothing unexpected."""
        if self._socket is None:
            return False
        if self._segments is not None and kernel_receive.is_quiet(self._socket, self._segments):
            return True
        self._segments = None
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
        if isinstance(self._tls_context, TlsFileError):
            raise ConnectError(str(self._tls_context), local=True)
        start = clock.monotonic()
        limit = gevent.Timeout(timeout)
        limit.start()
        try:
            self._socket, resolved, connected = self._dial()
            if kernel_receive.enable_timestamps(self._socket):
                self._read = kernel_receive.read_stamped
            if self._tls_context is not None:
                self._session = TlsSession(self._tls_context, self._target)
            self.reading_path = self._choose_path()
            if self._session is None:
                return SetupTimes(resolved - start, connected - start, None)
            self._handshake(self._session)
            return SetupTimes(resolved - start, connected - start, clock.monotonic() - connected)
        except gevent.Timeout as fired:
            self.close()
            if fired is not limit:
                raise
            raise ConnectError(f"no connection within {timeout:g} s", timed_out=True) from fired
        except OSError as error:
            self.close()
            reason = why_refused(error) or error.strerror or str(error)
            timed_out = isinstance(error, TimeoutError)
            raise ConnectError(reason, local=error.errno in _LOCAL_ERRORS, timed_out=timed_out) from error
        except UnicodeError as error:
            raise ConnectError(f"host name: {error}") from error
        except BaseException:
            self.close()
            raise
        finally:
            limit.close()

    def _dial(self) -> Dialled:
        self._dialing = dialing = Dialing(self._target)
        try:
            return dialing.wait()
        finally:
            self._dialing = None
            dialing.stop()

    def _handshake(self, session: TlsSession) -> None:
        while not session.handshake():
            self._send_all(session.to_wire())
            wire = self._receive_some()
            if not wire:
                raise ConnectionError("the server closed the connection during the TLS handshake")
            session.feed(wire)
        self._send_all(session.to_wire())

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

    def begin_send(self, wire: bytes) -> tuple[float, memoryview]:
        """Write what the kernel takes at once; return the monotonic time just before, and what is left to send.

        OSError if the connection is lost.
        """
        sock = self._open_socket()
        if self.reading_path == NATIVE:
            at, size = native_stream.send(sock, wire)
        else:
            at, size = clock.monotonic(), 0
            with suppress(BlockingIOError):
                size = sock.send(wire)
        return at, memoryview(wire)[size:]

    def send_rest(self, rest: memoryview, deadline: float) -> None:
        """Write what `begin_send` left.

        OSError if the connection is lost; SlowServerError if the server has not accepted everything by `deadline`
        (monotonic seconds).
        """
        self._send_all(rest, deadline)

    def _send_all(self, wire: bytes | memoryview, deadline: float | None = None) -> None:
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

    def receive(self, sent: float, *, may_defer: bool = True) -> ResponseStream | NativeStream:
        """Start reading the response to a request sent at `sent`. OSError if the socket can't be watched.

        `may_defer`: the events of a stream may wait, until one looks like the last.
        """
        sock = self._open_socket()
        if self.reading_path == NATIVE:
            tls = None if self._session is None else self._session.native
            self._stream = NativeStream(sock, sent, may_defer=may_defer, tls=tls)
        else:
            self._stream = ResponseStream(sock, self._read, self._session, sent)
        return self._stream

    def interrupt(self) -> None:
        """Make another greenlet's `open` or `send` fail now."""
        if self._dialing is not None:
            self._dialing.interrupt()
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
        self._socket = self._session = self._segments = None


def _wait_until_writable(sock: socket.socket, deadline: float | None) -> None:
    remaining = None if deadline is None else deadline - clock.monotonic()
    if remaining is not None and remaining <= 0:
        raise SlowServerError
    try:
        gevent.socket.wait_write(sock.fileno(), remaining)
    except TimeoutError as error:
        raise SlowServerError from error
