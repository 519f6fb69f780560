"""One HTTP/1.1 connection, made on the gevent hub and read by a thread.

While a reply streams, no greenlet runs for a token: a thread (see `readiness`) reads the socket and notes the receive
time. The user's greenlet sleeps until the reply is over, a deadline passes or a few hundred events wait; events are
parsed then. This module, `readiness` and the swarm are the only ones that know gevent.
"""

import errno
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gevent
import gevent.event
import gevent.socket
from gevent.monkey import get_original

from probe_ext.client import kernel_receive
from probe_ext.client.address import Target
from probe_ext.client.socket_reactor import sockets
from probe_ext.client.tls import TlsSession
from probe_ext.measure import clock

_OUR_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL}
"""errors of this machine: too many files or sockets open, no local port left"""
_AT_ONCE = 256
"""reads that may wait to be parsed: what parsing them takes, other greenlets wait for their turn"""
_MOST_WAITING = 4 * _AT_ONCE
"""reads after which no more is read until somebody looks: what a server sends then waits in the kernel, and with it"""
_TAIL = 12
"""bytes: a read that ends an event has its brace in so many last ones"""
_LAST_CHUNK = b"0\r\n\r\n"
"""what the last chunk ends in, however many zeros its size has"""

Reader = Callable[[socket.socket, kernel_receive.Round], kernel_receive.Read]
"""how a socket is read, see `receive`"""


class SlowServerError(Exception):
    """The server did not take a request's bytes in time."""


class ConnectError(Exception):
    """No connection came to be. `ours` where this machine's limits are the reason, `timed_out` where time was."""

    def __init__(self, message: str, *, ours: bool = False, timed_out: bool = False) -> None:
        super().__init__(message)
        self.ours = ours
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class SetUp:
    """Seconds that it took to make a connection."""

    connect: float
    tls: float | None


class Connection:
    """A connection to one target; made by `open`, used for one reply after another."""

    def __init__(self, target: Target, tls: ssl.SSLContext | None) -> None:
        self._target = target
        self._settings = tls
        self._socket: socket.socket | None = None
        self._connecting: gevent.socket.socket | None = None
        self._reception: Reception | None = None
        self._session: TlsSession | None = None
        self._read: Reader = kernel_receive.read_plain

    @property
    def stamped(self) -> bool:
        """Whether the kernel's receive times are had."""
        return self._read is kernel_receive.read_stamped

    def usable(self) -> bool:
        """Whether a request can be sent: open, and the server has neither closed it nor sent what nobody asked."""
        if self._socket is None:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def open(self, timeout: float) -> SetUp:
        """Resolve, connect and shake hands within `timeout` seconds. ConnectError when that fails."""
        self.close()
        start = clock.monotonic()
        limit = gevent.Timeout(timeout)
        limit.start()
        try:
            self._socket = self._connect()
            connected = clock.monotonic()
            if kernel_receive.ask_for_stamps(self._socket):
                self._read = kernel_receive.read_stamped
            if self._settings is None:
                return SetUp(connected - start, None)
            self._session = self._shake_hands(self._settings)
            return SetUp(connected - start, clock.monotonic() - connected)
        except gevent.Timeout as fired:
            self.close()
            if fired is not limit:
                raise
            raise ConnectError(f"no connection within {timeout:g} s", timed_out=True) from fired
        except OSError as error:
            self.close()
            reason = error.strerror or str(error)
            timed_out = isinstance(error, TimeoutError)
            raise ConnectError(reason, ours=error.errno in _OUR_LIMITS, timed_out=timed_out) from error
        except UnicodeError as error:
            raise ConnectError(f"host name: {error}") from error
        except BaseException:
            self.close()
            raise
        finally:
            limit.close()

    def _connect(self) -> socket.socket:
        """A connected socket that never blocks. gevent does the waiting while it resolves and connects."""
        failure = OSError("the name has no address")
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

    def _shake_hands(self, settings: ssl.SSLContext) -> TlsSession:
        session = TlsSession(settings, self._target)
        while not session.handshake():
            self._send_all(session.to_wire())
            wire = self._receive_some()
            if not wire:
                raise ConnectionError("the server closed the connection during the TLS handshake")
            session.take(wire)
        self._send_all(session.to_wire())
        return session

    def _receive_some(self) -> bytes:
        sock = self._open_socket()
        while True:
            gevent.socket.wait_read(sock.fileno())
            try:
                return sock.recv(kernel_receive.READ_SIZE)
            except BlockingIOError:  # readiness is a hint, no promise
                continue

    def wire(self, request: bytes) -> bytes:
        """A request as it goes over the wire: encrypted here, before the clock starts. OSError without a connection."""
        self._open_socket()
        return request if self._session is None else self._session.encrypt(request)

    def send(self, wire: bytes, deadline: float) -> None:
        """Hand a request's bytes to the kernel.

        OSError when the connection is lost; SlowServerError when the server has not taken them all by `deadline`
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
                _wait_for_room(sock, deadline)

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("the connection is closed")
        return self._socket

    def receive(self, sent: float) -> "Reception":
        """Begin to read the response to a request that was sent then."""
        self._reception = Reception(self._open_socket(), self._read, self._session, sent)
        return self._reception

    def interrupt(self) -> None:
        """Have another greenlet's `open` or `send` fail now. A name that is being resolved cannot be hurried."""
        if self._connecting is not None:
            self._connecting.close()  # gevent wakes who waits on it
        elif self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close at once; `open` may follow."""
        if self._reception is not None:
            self._reception.stop()  # its descriptor may soon be another's
            self._reception = None
        if self._socket is not None:
            self._socket.close()
        self._socket = self._session = None


def _resolve(target: Target) -> list[Any]:
    """Addresses of the target. A resolver that may open no file blames the name: then the true reason is raised."""
    _check_descriptors()
    try:
        return list(gevent.socket.getaddrinfo(target.host, target.port, 0, socket.SOCK_STREAM))
    except OSError:
        _check_descriptors()
        raise


def _check_descriptors() -> None:
    """OSError when this process can open no two more files: one for a resolver, one for the connection."""
    for descriptor in os.pipe():
        os.close(descriptor)


def _wait_for_room(sock: socket.socket, deadline: float | None) -> None:
    left = None if deadline is None else deadline - clock.monotonic()
    if left is not None and left <= 0:
        raise SlowServerError
    try:
        gevent.socket.wait_write(sock.fileno(), left)
    except TimeoutError as error:
        raise SlowServerError from error


class Reception:
    """One response while it arrives: what was read and when, until the connection ends or nobody wants more."""

    def __init__(self, sock: socket.socket, read: Reader, session: TlsSession | None, sent: float) -> None:
        self.lags: list[float] = []
        self.overdue: list[float] = []
        self.bytes_at: float | None = None
        """when the latest bytes came"""
        self.ended_at: float | None = None
        """when the connection's end was seen"""
        self.ended = False
        """no more will come"""
        self.failure: Exception | None = None
        self.flows = False
        """one event after another is expected: they may wait, until one looks like the last"""
        self._socket, self._read, self._session = sock, read, session
        self._floor = sent
        self._closed = self._full = False
        self._reads: kernel_receive.Reads = []
        self._wake = gevent.event.Event()
        self._sockets = sockets()
        stamped = read is kernel_receive.read_stamped
        with self._sockets.lock:  # nothing is read before we can stop it
            self._watch = self._sockets.add(sock.fileno(), self._on_readable, self._end, stamped=stamped)

    @property
    def last_at(self) -> float | None:
        """When the latest bytes came, or the connection's end was seen."""
        seen = [at for at in (self.bytes_at, self.ended_at) if at is not None]
        return max(seen) if seen else None

    @property
    def _waiting(self) -> int:
        """Reads that nobody has looked at."""
        return len(self._reads) // kernel_receive.READ_ITEMS

    def wait(self, seconds: float) -> None:
        """Sleep until something asks for attention, or the time has passed."""
        self._wake.wait(max(0.0, seconds))
        self._wake.clear()

    def nudge(self) -> None:
        """Wake the waiting greenlet."""
        self._wake.set()

    def stop(self) -> None:
        """Read no more."""
        with self._sockets.lock:
            self._full = False
            self._watch.stop()

    def learn(self, reads: int, unresolved: int) -> None:
        """Tell those who wait for others how many of this response's reads carried several tokens."""
        self._sockets.patience.learn(reads, unresolved)

    def catch_up(self) -> bool:
        """Read what the kernel holds already, for the thread may wait for others; whether anything is to be looked at.

        A batch of it: a server that writes faster than we read must not keep us here. What the thread has read
        meanwhile counts, too.
        """
        with self._sockets.lock:
            while not self._closed and self._waiting <= _AT_ONCE and self._on_readable(kernel_receive.begin_round()):
                pass
            return self._closed or bool(self._reads)

    def arrivals(self) -> kernel_receive.Arrivals:
        """What came since the last call."""
        self.ended = self._closed  # looked at first: bytes that come meanwhile, and an end, are for the next call
        reads = self._reads[:]
        del self._reads[: len(reads)]
        if self._full:
            with self._sockets.lock:
                self._full = False
                self._watch.resume()
        arrivals = kernel_receive.arrivals(reads, self._floor)
        self.lags.extend(arrivals.lags)
        self.overdue.extend(arrivals.overdue)
        if arrivals.at:
            self._floor = self.bytes_at = arrivals.at[-1]
        return arrivals

    def _on_readable(self, now: kernel_receive.Round) -> bool:
        """The hot path: runs in the thread, once a token. It reads, and puts off all that can be. Whether it read."""
        try:
            read = self._read(self._socket, now)
            ended = not read[0]
            if self._session is not None:
                read = (self._session.decrypt(read[0]), *read[1:])
                ended = self._session.ended
        except BlockingIOError:
            return False
        except Exception as error:  # also what none should raise: the greenlet that waits is told, the thread goes on
            self._end(error)
            return True
        self._reads += read
        if ended:
            self._end(None)
        # Every event but the last ends in a brace, and behind it only line ends and framing: the others can wait.
        tail = read[0][-_TAIL:]
        waiting = self._waiting
        if not self.flows or b"}" not in tail or tail.endswith(_LAST_CHUNK) or waiting > _AT_ONCE:
            self._sockets.wake(self._wake)
        if waiting >= _MOST_WAITING and not self._closed:
            self._full = True
            self._watch.stop()
        return True

    def _end(self, failure: Exception | None) -> None:
        self._watch.stop()
        self.failure = self.failure or failure
        self.ended_at = clock.monotonic()
        self._closed = True
        self._sockets.wake(self._wake)
