"""One thread reads all sockets of a gevent hub, and coalesces its wakeups where there are many sockets.

Greenlets switch only where they wait, so anything that works for long (a finished reply, a table, Locust, user code)
would delay everyone's reads. A thread gets its turn within a tenth of a millisecond, once per read at worst. It reads
and notes the time, and wakes a greenlet only where something needs attention.

Waking up for every token costs more, with cold caches, than the read itself. With many sockets, the thread therefore
sleeps briefly and then reads all sockets that are ready by then. Times do not move, because the kernel stamps each
segment; but several segments for one socket within the delay become one read, and their gaps are lost. The delay grows
while hardly any gaps are lost and shrinks as soon as some are. Without kernel stamps there is no delay; instead the
thread sets itself moments to wake up, and how late it notices them is the error of its receive times.
"""

import math
import os
import signal
import sys
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
from gevent.monkey import get_original

from probe_ext.client.wire.kernel_receive import ReadRound, begin_round
from probe_ext.client.wire.portability import NOT_ON_WINDOWS, Poller, Ready, make_poller
from probe_ext.measure import clock

if sys.platform == "win32":
    raise ImportError(NOT_ON_WINDOWS)

MIN_DELAY_S, MAX_DELAY_S = 0.001, 0.008
COALESCE_FROM_SOCKETS = 32
_MAX_UNRESOLVED_SHARE = 0.005
"""share of reads with several tokens above which the delay shrinks"""
_UPDATE_AFTER_READS = 2000
_SWITCH_INTERVAL_S = 0.0001
"""after this, Python lets the thread have the interpreter; its default is 50 times as long"""
_MOMENT_EVERY_S = 0.025
"""between the moments by which the thread measures how late it is, without kernel stamps"""
_CRASH_SIGNALS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
_sleep = get_original("time", "sleep")
_start_thread = get_original("_thread", "start_new_thread")
_make_lock = get_original("_thread", "RLock")


class Registration:
    """One socket that is being read, until `stop`."""

    def __init__(
        self,
        owner: "SocketReactor",
        descriptor: int,
        read: Callable[[ReadRound], object],
        fail: Callable[[Exception], object],
        stamped: bool,
    ) -> None:
        self.read, self.fail, self.stamped = read, fail, stamped
        self._reactor, self._descriptor = owner, descriptor

    def stop(self) -> None:
        """Stop reading; when this returns, no read is in progress. Idempotent."""
        self._reactor.unregister(self._descriptor, self)

    def resume(self) -> None:
        """Continue reading after `stop`."""
        self._reactor.register(self._descriptor, self)


class CoalesceDelay:
    """How long to wait for more sockets: as long as that costs next to no resolution."""

    def __init__(self) -> None:
        self.seconds = MIN_DELAY_S
        self._reads = self._unresolved = 0

    def update(self, reads: int, unresolved: int) -> None:
        """Count the reads of a finished reply, and how many of them carried several tokens."""
        self._reads += reads
        self._unresolved += unresolved
        if self._reads >= _UPDATE_AFTER_READS:
            too_many = self._unresolved > _MAX_UNRESOLVED_SHARE * self._reads
            self.seconds = max(MIN_DELAY_S, self.seconds / 2) if too_many else min(MAX_DELAY_S, self.seconds * 1.5)
            self._reads = self._unresolved = 0


class Lateness:
    """How late the thread notices what happens: measured by moments that it sets itself, as if bytes came then."""

    def __init__(self) -> None:
        self.latest: float | None = None
        """seconds; None before the first moment"""
        self._due = self._noticeable = 0.0

    def timeout(self, now: float) -> float:
        """Return how long to wait for sockets at most."""
        if self._due <= now:
            if self._due:  # it passed while sockets were read
                self.latest = now - self._due
            self._due = now + _MOMENT_EVERY_S
        milliseconds = math.ceil((self._due - now) * 1000 - 1e-6)  # a poll rounds up, which is no lateness
        self._noticeable = now + milliseconds / 1000
        return milliseconds / 1000

    def note(self, now: float, *, found: bool) -> None:
        """Note that the thread woke up, and whether sockets were readable."""
        if now >= self._due:
            self.latest = max(0.0, now - (self._due if found else self._noticeable))
            self._due = 0.0


class SocketReactor:
    """The sockets of one hub, and the thread that reads them."""

    def __init__(self, hub: Any) -> None:
        self._hub = weakref.ref(hub)
        self.delay = CoalesceDelay()
        self.lock = _make_lock()
        """held while reading, and while registrations change"""
        self._poller: Poller = make_poller()
        self._lateness = Lateness()
        self._registrations: dict[int, Registration] = {}
        self._unstamped = 0
        self._events_to_set: deque[gevent.event.Event] = deque()
        self._hub_wakeup = hub.loop.async_(ref=False)
        self._hub_wakeup.start(self._set_events)
        sys.setswitchinterval(min(_SWITCH_INTERVAL_S, sys.getswitchinterval()))
        start_thread_without_signals(self._run)

    def add(
        self,
        descriptor: int,
        read: Callable[[ReadRound], object],
        fail: Callable[[Exception], object],
        *,
        stamped: bool,
    ) -> Registration:
        """Call `read` in the thread whenever the socket is readable. It must neither block nor raise.

        `fail` is called if the thread dies. OSError if the kernel cannot watch more descriptors.
        """
        registration = Registration(self, descriptor, read, fail, stamped)
        self.register(descriptor, registration)
        return registration

    def register(self, descriptor: int, registration: Registration) -> None:
        """Start reading a socket."""
        with self.lock:
            self._poller.register(descriptor)
            self._registrations[descriptor] = registration
            self._unstamped += not registration.stamped

    def unregister(self, descriptor: int, registration: Registration) -> None:
        """Stop reading a socket, unless its descriptor belongs to another registration by now."""
        with self.lock:
            if self._registrations.get(descriptor) is registration:
                del self._registrations[descriptor]
                self._unstamped -= not registration.stamped
                self._poller.unregister(descriptor)

    def set_soon(self, event: gevent.event.Event) -> None:
        """Have the hub set an event after the current round of reads; for callers in the thread."""
        self._events_to_set.append(event)

    def reset_after_fork(self) -> None:
        """Drop the parent's sockets in a forked process, which has no reading thread."""
        self.lock = _make_lock()
        self._registrations.clear()

    def _run(self) -> None:
        try:
            self._read_forever()
        except Exception as error:  # fail all waiting replies; the next one starts a new reactor
            with self.lock:
                if (hub := self._hub()) is not None:
                    _reactors.pop(hub, None)
                for registration in list(self._registrations.values()):
                    registration.fail(error)
                self._hub_wakeup.send()

    def _read_forever(self) -> None:
        ready: Ready = ()
        while True:
            ready, wait_start, wait_end = self._poll(busy=bool(ready))
            self._read_ready(ready, wait_start, wait_end)
            if self._events_to_set:
                self._hub_wakeup.send()

    def _poll(self, *, busy: bool) -> tuple[Ready, float, float]:
        """Return the ready descriptors, and start and end of the intended wait for them (0, 0 without one)."""
        if busy and len(self._registrations) >= COALESCE_FROM_SOCKETS and not self._unstamped:
            wait_start, delay = clock.monotonic(), self.delay.seconds
            _sleep(delay)
            ready = self._poller.poll(0)
            if ready:
                return ready, wait_start, wait_start + delay
        if not self._unstamped:
            return self._poller.poll(None), 0.0, 0.0
        ready = self._poller.poll(self._lateness.timeout(clock.monotonic()))
        if not ready:
            self._lateness.note(clock.monotonic(), found=False)
        return ready, 0.0, 0.0

    def _read_ready(self, ready: Ready, wait_start: float, wait_end: float) -> None:
        with self.lock:
            if ready and self._unstamped:
                self._lateness.note(clock.monotonic(), found=True)
            read_round = begin_round(wait_start, wait_end, self._lateness.latest)
            for descriptor, _ in ready:
                registration = self._registrations.get(descriptor)
                if registration is not None:
                    registration.read(read_round)

    def _set_events(self) -> None:
        while self._events_to_set:
            self._events_to_set.popleft().set()


def start_thread_without_signals(work: Callable[[], None]) -> None:
    """Start a thread that leaves signals to the main thread, except those of its own crashes."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _CRASH_SIGNALS)
    try:
        _start_thread(work, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_reactors: weakref.WeakKeyDictionary[Any, SocketReactor] = weakref.WeakKeyDictionary()
"""by their hub"""


def reactor() -> SocketReactor:
    """Return the reactor of the current hub; a forked process gets its own."""
    hub = gevent.get_hub()
    current = _reactors.get(hub)
    if current is None:
        current = _reactors[hub] = SocketReactor(hub)
    return current


def _after_fork() -> None:
    for inherited in list(_reactors.values()):
        inherited.reset_after_fork()
    _reactors.clear()


os.register_at_fork(after_in_child=_after_fork)
