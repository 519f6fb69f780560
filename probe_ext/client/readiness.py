"""Which sockets can be read: one watcher on the hub for all of them, and a moment's patience where there are many.

A loop that wakes up for every token pays more for waking up, with everything gone from the caches, than for reading.
Where many sockets are read it therefore waits GATHER seconds once one is ready, and reads all that are ready by then.
The kernel has noted when each segment came, so no time moves; what came for one socket within that wait is one read,
and counted where it is not resolved. Without the kernel's times nothing waits.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent.monkey import get_original

GATHER = 0.001
"""seconds that the first of many ready sockets waits for others"""
MANY = 32
"""sockets that are read at once: with fewer, waking up for each token costs nobody anything"""
_READABLE = 1
_epoll = get_original("select", "epoll")
_sleep = get_original("time", "sleep")


class Watch:
    """One socket that is being read, until `stop`."""

    def __init__(self, sockets: "Sockets", descriptor: int, read: Callable[[], object], stamped: bool) -> None:
        self.read, self.stamped = read, stamped
        self._sockets, self._descriptor = sockets, descriptor

    def stop(self) -> None:
        """Read no more; again, it does nothing."""
        self._sockets.remove(self._descriptor, self)


class Sockets:
    """The sockets of one hub that are being read."""

    def __init__(self, hub: Any) -> None:
        self._ready = _epoll()
        self._watched: dict[int, Watch] = {}
        self._unstamped = 0
        self._watcher = hub.loop.io(self._ready.fileno(), _READABLE, ref=False)
        self._watcher.start(self._on_ready)

    def add(self, descriptor: int, read: Callable[[], object], *, stamped: bool) -> Watch:
        """Call `read` on the hub whenever there is something; it takes what is there, and never waits."""
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
        for descriptor, _ in self._ready.poll(0):
            watch = self._watched.get(descriptor)
            if watch is not None:
                watch.read()

    def _on_ready(self) -> None:
        if len(self._watched) >= MANY and not self._unstamped:
            _sleep(GATHER)
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
