"""Which sockets can be read: one watcher on the hub for all of them, and a moment's patience where there are many.

A loop that wakes up for every token pays more for waking up, with everything gone from the caches, than for reading.
Where many sockets are read it therefore waits a moment once one is ready, and reads all that are ready by then. The
kernel has noted when each segment came, so no time moves; what came for one socket within that wait is one read, and
counted where it is not resolved: the moment grows while next to none is lost so, and shrinks as soon as some are.
Without the kernel's times nothing waits.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent.monkey import get_original

from probe_ext.client.receive import offset

LEAST, MOST = 0.001, 0.004
"""seconds that the first of many ready sockets waits for others"""
MANY = 32
"""sockets that are read at once: with fewer, waking up for each token costs nobody anything"""
_LOST = 0.005
"""share of reads that may carry several tokens while the wait still grows"""
_ENOUGH = 2000
"""reads after which the wait is thought over"""
_READABLE = 1
_epoll = get_original("select", "epoll")
_sleep = get_original("time", "sleep")


class Watch:
    """One socket that is being read, until `stop`."""

    def __init__(self, sockets: "Sockets", descriptor: int, read: Callable[[int], object], stamped: bool) -> None:
        self.read, self.stamped = read, stamped
        self._sockets, self._descriptor = sockets, descriptor

    def stop(self) -> None:
        """Read no more; again, it does nothing."""
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
        self._ready = _epoll()
        self._watched: dict[int, Watch] = {}
        self._unstamped = 0
        self._watcher = hub.loop.io(self._ready.fileno(), _READABLE, ref=False)
        self._watcher.start(self._on_ready)

    def add(self, descriptor: int, read: Callable[[int], object], *, stamped: bool) -> Watch:
        """Call `read` on the hub whenever there is something; it takes what is there, and never waits.

        It is told how far the wall clock is from ours, see `receive.offset`: once for all that are ready together.
        """
        watch = self._watched[descriptor] = Watch(self, descriptor, read, stamped)
        self._unstamped += not stamped
        self._ready.register(descriptor, _READABLE)
        return watch

    def remove(self, descriptor: int, watch: Watch) -> None:
        """Forget a socket, unless its number is another's by now."""
        if self._watched.get(descriptor) is watch:
            del self._watched[descriptor]
            self._unstamped -= not watch.stamped
            with suppress(OSError):  # it may be closed
                self._ready.unregister(descriptor)

    def look(self) -> None:
        """Read all that are ready now. Whoever works for long calls this, so that nobody's bytes wait meanwhile."""
        watched, to_monotonic = self._watched, offset()
        for descriptor, _ in self._ready.poll(0):
            watch = watched.get(descriptor)
            if watch is not None:
                watch.read(to_monotonic)

    def _on_ready(self) -> None:
        if len(self._watched) >= MANY and not self._unstamped:
            _sleep(self.patience.seconds)
        self.look()


_by_hub: dict[tuple[int, int], Sockets] = {}


def sockets() -> Sockets:
    """Those of this hub. A forked process has a hub and sockets of its own."""
    hub = gevent.get_hub()
    key = (os.getpid(), id(hub))
    found = _by_hub.get(key)
    if found is None:
        found = _by_hub[key] = Sockets(hub)
    return found
