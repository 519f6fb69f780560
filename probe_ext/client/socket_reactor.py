"""One thread reads all sockets, with a moment's patience where there are many.

Greenlets take turns only where they wait, so whoever works for long (a finished reply, a table, Locust, a user's own
code) would keep everybody's bytes waiting. A thread asks for its turn in the midst of that after a tenth of a
millisecond, once for each read at worst. It reads and notes, and wakes a greenlet only where something asks for
attention.

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

from probe_ext.client.kernel_receive import Round, begin_round
from probe_ext.measure import clock

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
_TURN = 0.0001
"""seconds after which whoever works lets the thread have its turn; Python's own measure is fifty times as long"""
_READABLE = 1
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
_epoll = get_original("select", "epoll")
_sleep = get_original("time", "sleep")
_start_thread = get_original("_thread", "start_new_thread")
_new_lock = get_original("_thread", "RLock")


class Watch:
    """One socket that is being read, until `stop`."""

    def __init__(
        self,
        sockets: "Sockets",
        descriptor: int,
        read: Callable[[Round], object],
        fail: Callable[[Exception], object],
        stamped: bool,
    ) -> None:
        self.read, self.fail, self.stamped = read, fail, stamped
        self._sockets, self._descriptor = sockets, descriptor

    def stop(self) -> None:
        """Read no more; again, it does nothing. Once it returns, no read is going on."""
        self._sockets.remove(self._descriptor, self)

    def resume(self) -> None:
        """Read on after `stop`."""
        self._sockets.watch(self._descriptor, self)


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
        self._hub = id(hub)
        self.patience = Patience()
        self.lock = _new_lock()
        """whoever reads holds it, or changes what is read"""
        self._ready = _epoll()
        self._watched: dict[int, Watch] = {}
        self._unstamped = 0
        self._woken: deque[gevent.event.Event] = deque()
        self._bell = hub.loop.async_(ref=False)
        self._bell.start(self._wake_up)
        sys.setswitchinterval(min(_TURN, sys.getswitchinterval()))
        _start_without_signals(self._keep_reading)

    def add(
        self, descriptor: int, read: Callable[[Round], object], fail: Callable[[Exception], object], *, stamped: bool
    ) -> Watch:
        """Call `read` in the thread whenever there is something; it takes what is there, never waits, never raises.

        It is told what all that are ready together share, see `receive.Round`.
        `fail` is told that nobody will read any more. OSError where the kernel can watch no more.
        """
        watch = Watch(self, descriptor, read, fail, stamped)
        self.watch(descriptor, watch)
        return watch

    def watch(self, descriptor: int, watch: Watch) -> None:
        """Read a socket, from now on."""
        with self.lock:
            self._ready.register(descriptor, _READABLE)
            self._watched[descriptor] = watch
            self._unstamped += not watch.stamped

    def remove(self, descriptor: int, watch: Watch) -> None:
        """Forget a socket, unless its number is another's by now."""
        with self.lock:
            if self._watched.get(descriptor) is watch:
                del self._watched[descriptor]
                self._unstamped -= not watch.stamped
                with suppress(OSError):  # it may be closed
                    self._ready.unregister(descriptor)

    def wake(self, event: gevent.event.Event) -> None:
        """For what the thread calls: have the hub set an event, once all that are ready now are read."""
        self._woken.append(event)

    def forget(self) -> None:
        """In a forked process: no thread reads here, and what is watched is the other's."""
        self.lock = _new_lock()
        self._watched.clear()

    def _keep_reading(self) -> None:
        try:
            self._read_all()
        except Exception as defect:  # nobody may wait for a thread that is gone; the next reply begins another
            with self.lock:
                _by_hub.pop(self._hub, None)
                for watch in list(self._watched.values()):
                    watch.fail(defect)
                self._bell.send()

    def _read_all(self) -> None:
        ready: Sequence[tuple[int, int]] = ()
        while True:
            ready, since, due = self._wait(patiently=bool(ready))
            self._read(ready, since, due)
            if self._woken:
                self._bell.send()

    def _wait(self, *, patiently: bool) -> tuple[Sequence[tuple[int, int]], float, float]:
        """What is ready, and the monotonic seconds from which and until which others were waited for."""
        if patiently and len(self._watched) >= MANY and not self._unstamped:
            since, seconds = clock.monotonic(), self.patience.seconds
            _sleep(seconds)
            ready = self._ready.poll(0)
            if ready:
                return ready, since, since + seconds
        return self._ready.poll(), 0.0, 0.0

    def _read(self, ready: Sequence[tuple[int, int]], since: float, due: float) -> None:
        with self.lock:
            now = begin_round(since, due)
            for descriptor, _ in ready:
                watch = self._watched.get(descriptor)
                if watch is not None:
                    watch.read(now)

    def _wake_up(self) -> None:
        while self._woken:
            self._woken.popleft().set()


def _start_without_signals(work: Callable[[], None]) -> None:
    """Signals are for the main thread, but for those that tell of a crash in this one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _CRASHES)
    try:
        _start_thread(work, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_by_hub: dict[int, Sockets] = {}


def sockets() -> Sockets:
    """Those of this hub. A forked process has sockets of its own."""
    hub = gevent.get_hub()
    found = _by_hub.get(id(hub))
    if found is None:
        found = _by_hub[id(hub)] = Sockets(hub)
    return found


def _after_fork() -> None:
    for inherited in _by_hub.values():
        inherited.forget()
    _by_hub.clear()


os.register_at_fork(after_in_child=_after_fork)
