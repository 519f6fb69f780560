"""One response that the native path reads: what `ResponseStream` is, with the sockets read by `reader.c`.

Its thread keeps what arrives, and signals the hub through a descriptor when a stream needs attention: once per reply in
the usual case. Bytes that are events of known patterns arrive here as their values.
"""

import errno
import fcntl
import os
import socket
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary, finalize

import gevent
import gevent.event
from gevent.monkey import get_original

from probe_ext.client.wire.native import native_extension
from probe_ext.client.wire.native.native_arrivals import NativeArrivals, arrivals_of
from probe_ext.client.wire.socket_reactor import CoalesceDelay, start_thread_without_signals
from probe_ext.client.wire.stream_state import StreamState
from probe_ext.measure import clock

_READABLE = 1
_make_lock = get_original("_thread", "allocate_lock")


class NativeReactor:
    """The native reader of one hub, its thread, and the events of the greenlets that wait for it."""

    def __init__(self, hub: Any) -> None:
        self.delay = CoalesceDelay()
        self.waiting: dict[int, gevent.event.Event] = {}
        """by the descriptor of a stream"""
        with ExitStack() as opened:
            self._woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            opened.callback(os.close, self._woken)
            opened.callback(os.close, wake)
            stop = os.eventfd(0, os.EFD_CLOEXEC)
            opened.callback(os.close, stop)
            self._capacity = fcntl.fcntl(self._woken, fcntl.F_GETPIPE_SZ)
            self.reader = native_extension.reader_module().Reader(wake, stop)
            self.close = finalize(hub, _stop, stop, _start(self.reader), opened.pop_all())
            """stops the thread; called at the end of the hub or of the process"""
        self._watcher = hub.loop.io(self._woken, _READABLE, ref=False)
        self._watcher.start(self._set_events)

    def _set_events(self) -> None:
        if not self.close.alive:  # the descriptor may be another one's by now
            self._watcher.stop()
            return
        woken = os.read(self._woken, self._capacity)
        all_woken = len(woken) == self._capacity or self.reader.failed  # a full pipe takes no more
        for descriptor in list(self.waiting) if all_woken else memoryview(woken).cast("i"):
            if event := self.waiting.get(descriptor):
                event.set()

    def report(self, reads: int, unresolved: int) -> None:
        """Count the reads of a finished reply, and how many of them carried several tokens."""
        self.delay.update(reads, unresolved)
        self.reader.delay_ns = round(self.delay.seconds * 1e9)

    def reset_after_fork(self) -> None:
        """Leave the reader to the parent: a forked process has no reading thread."""
        self._watcher.stop()
        self.close.detach()
        self.reader.abandoned = True


def _start(reader: Any) -> Any:
    """Start the thread of a reader; return a lock that is free once it has ended. OSError without room for a thread."""

    def run() -> None:
        try:
            reader.run()
        finally:
            running.release()

    running = _make_lock()
    running.acquire()
    try:
        start_thread_without_signals(run)
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    return running


def _stop(stop: int, running: Any, opened: ExitStack) -> None:
    os.eventfd_write(stop, 1)
    running.acquire()
    opened.close()


_reactors: WeakKeyDictionary[Any, NativeReactor] = WeakKeyDictionary()
"""by their hub"""


def native_reactor() -> NativeReactor:
    """Return the reactor of the current hub, whose thread runs; a forked process gets its own.

    OSError if there is no room for a new one.
    """
    hub = gevent.get_hub()
    current = _reactors.get(hub)
    if current is None or current.reader.failed:
        current = _reactors[hub] = NativeReactor(hub)
    return current


def send(sock: socket.socket, wire: bytes) -> tuple[float, int]:
    """Send what the kernel takes at once; return the monotonic time just before, and how many bytes it took.

    OSError if the connection is lost.
    """
    at, size = native_reactor().reader.send(sock.fileno(), wire)
    return at, size


def _after_fork() -> None:
    for inherited in list(_reactors.values()):
        inherited.reset_after_fork()
        _abandoned.append(inherited)
    _reactors.clear()


_abandoned: list[NativeReactor] = []
"""kept: its watcher belongs to the parent's loop"""
os.register_at_fork(after_in_child=_after_fork)


class NativeStream(StreamState):
    """Collects what arrives of one response. The interface is that of `ResponseStream`."""

    def __init__(self, sock: socket.socket, sent: float, *, may_defer: bool, tls: Any = None) -> None:
        """`may_defer`: events may wait until one looks like the last; `tls`: of `capture_tls`.

        OSError if the socket can't be watched.
        """
        super().__init__()
        self._defer = may_defer
        self._reactor = native_reactor()
        self._descriptor = sock.fileno()
        arguments = (self._descriptor, sent, may_defer, tls)
        self._stream = self._reactor.reader.open(*(arguments if tls else arguments[:3]))
        self._socket = sock
        """held, so that its number cannot be another connection's while it is watched"""
        self._reactor.waiting[self._descriptor] = self._wakeup

    @property
    def defer_wakeups(self) -> bool:
        """Whether events may wait, until one looks like the last."""
        return self._defer

    @defer_wakeups.setter
    def defer_wakeups(self, value: bool) -> None:
        self._defer = value
        self._stream.defer = value

    def stop(self) -> bool:
        """Stop reading; return whether anything is unparsed."""
        waiting: bool = self._stream.stop()
        if self._reactor.waiting.get(self._descriptor) is self._wakeup:
            del self._reactor.waiting[self._descriptor]
        return waiting

    def report_unresolved(self, reads: int, unresolved: int) -> None:
        """Report how many of this response's reads carried several tokens, for the reactor's coalescing delay."""
        self._reactor.report(reads, unresolved)

    def drain_socket(self) -> bool:
        """Read what the kernel already holds, within bounds; return whether anything is unparsed."""
        waiting: bool = self._stream.drain()
        return waiting

    def take_arrivals(self) -> NativeArrivals:
        """Return what arrived since the last call."""
        *columns, lags, self.ended, ended_at, error, tls_error, last_at = self._stream.take()
        lags_and_overdue = memoryview(lags).cast("d").tolist()
        self.lags += lags_and_overdue[::2]
        self.overdue += lags_and_overdue[1::2]
        if last_at >= 0:
            self.bytes_at = last_at
        if not self.ended and (error := self._reactor.reader.failed):
            self.ended, ended_at = True, clock.monotonic()
        if self.ended:
            self.ended_at = ended_at
            if tls_error:
                self.failure = native_extension.tls_error(tls_error)
            elif error:
                self.failure = OSError(error, os.strerror(error))
        return arrivals_of(*columns)
