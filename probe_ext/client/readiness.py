"""One thread reads all sockets, with a moment's patience where there are many.

Greenlets take turns only where they wait, so whoever works for long (a finished reply, a table, Locust, a user's own
code) would keep everybody's bytes waiting. A thread gets its turn in the midst of that. It reads and notes, and wakes
a greenlet only where something asks for attention.

A loop that wakes up for every token pays more for waking up, with everything gone from the caches, than for reading.
Where many sockets are read, the thread therefore sleeps a moment and then reads all that are ready by then. The kernel
has noted when each segment came, so no time moves; what came for one socket within that moment is one read, and
counted where it is not resolved: the moment grows while next to none is lost so, and shrinks as soon as some are.
Without the kernel's times nothing waits.
"""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import gevent
import gevent.event
from gevent.monkey import get_original

from probe_ext.client.receive import offset

if not sys.platform.startswith("linux"):
    raise ImportError("load is made on Linux alone (its epoll and its receive times): elsewhere, in a container")

LEAST, MOST = 0.001, 0.008
"""seconds that the first of many ready sockets waits for others"""
MANY = 32
"""sockets that are read at once: with fewer, waking up for each token costs nobody anything"""
_LOST = 0.005
"""share of reads that may carry several tokens while the wait still grows"""
_ENOUGH = 2000
"""reads after which the wait is thought over"""
_TURN = 0.0005
"""seconds after which whoever works lets the thread have its turn; Python's own measure is ten times as long"""
_READABLE = 1
_epoll = get_original("select", "epoll")
_sleep = get_original("time", "sleep")
_start_thread = get_original("_thread", "start_new_thread")
_new_lock = get_original("_thread", "RLock")


class Watch:
    """One socket that is being read, until `stop`."""

    def __init__(self, sockets: "Sockets", descriptor: int, read: Callable[[int], object], stamped: bool) -> None:
        self.read, self.stamped = read, stamped
        self._sockets, self._descriptor = sockets, descriptor

    def stop(self) -> None:
        """Read no more; again, it does nothing. Once it returns, no read is going on."""
        self._sockets.remove(self._descriptor, self)


class Patience:
    """How long to wait for others, in seconds: as long as costs next to no resolution."""

    def __init__(self) -> None:
        self.seconds = LEAST
        self._reads = self._unresolved = 0

    def learn(self, reads: int, unresolved: int) -> None:
        """A reply is over: so many reads it had, and so many of them carried several tokens."""
        self._reads += reads
        self._unresolved += unresolved
        if self._reads >= _ENOUGH:
            lost = self._unresolved > _LOST * self._reads
            self.seconds = max(LEAST, self.seconds / 2) if lost else min(MOST, self.seconds * 1.5)
            self._reads = self._unresolved = 0


class Sockets:
    """The sockets of one hub that are being read."""

    def __init__(self, hub: Any) -> None:
        self.patience = Patience()
        self.lock = _new_lock()
        """whoever reads holds it: the thread, or a greenlet that cannot wait for it"""
        self._ready = _epoll()
        self._watched: dict[int, Watch] = {}
        self._unstamped = 0
        self._woken: deque[gevent.event.Event] = deque()
        self._bell = hub.loop.async_(ref=False)
        self._bell.start(self._wake_up)
        sys.setswitchinterval(_TURN)
        _start_thread(self._read_all, ())

    def add(self, descriptor: int, read: Callable[[int], object], *, stamped: bool) -> Watch:
        """Call `read` in the thread whenever there is something; it takes what is there, never waits, never raises.

        It is told how far the wall clock is from ours, see `receive.offset`: once for all that are ready together.
        """
        with self.lock:
            watch = self._watched[descriptor] = Watch(self, descriptor, read, stamped)
            self._unstamped += not stamped
            self._ready.register(descriptor, _READABLE)
        return watch

    def remove(self, descriptor: int, watch: Watch) -> None:
        """Forget a socket, unless its number is another's by now."""
        with self.lock:
            if self._watched.get(descriptor) is watch:
                del self._watched[descriptor]
                self._unstamped -= not watch.stamped
                with suppress(OSError):  # it may be closed
                    self._ready.unregister(descriptor)

    def wake(self, event: gevent.event.Event) -> None:
        """Have the hub set an event, once all that are ready now are read. For `read` functions."""
        self._woken.append(event)

    def _read_all(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the main thread
        ready: Sequence[tuple[int, int]] = ()
        while True:
            more: Sequence[tuple[int, int]] = ()
            if ready and len(self._watched) >= MANY and not self._unstamped:
                _sleep(self.patience.seconds)
                more = self._ready.poll(0)
            ready = more or self._ready.poll()
            self._read(ready)
            if self._woken:
                self._bell.send()

    def _read(self, ready: Sequence[tuple[int, int]]) -> None:
        with self.lock:
            to_monotonic = offset()
            for descriptor, _ in ready:
                watch = self._watched.get(descriptor)
                if watch is not None:
                    watch.read(to_monotonic)

    def _wake_up(self) -> None:
        while self._woken:
            self._woken.popleft().set()


_by_hub: dict[tuple[int, int], Sockets] = {}


def sockets() -> Sockets:
    """Those of this hub. A forked process has a hub and sockets of its own."""
    hub = gevent.get_hub()
    key = (os.getpid(), id(hub))
    found = _by_hub.get(key)
    if found is None:
        found = _by_hub[key] = Sockets(hub)
    return found
