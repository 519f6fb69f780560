"""What of Linux the reading of sockets uses, and its substitute elsewhere.

| on Linux | elsewhere, and with PROBE_PORTABLE=1 |
|---|---|
| epoll | poll, by the standard library's `selectors` |
| the kernel's receive timestamps | the time of the read, with its error (`socket_reactor.Lateness`) |
| the kernel's count of segments | none: who put events together is not known |

The switch makes Linux take the other path, so that it is tested where the tests run.
"""

import errno
import os
import selectors
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from gevent.monkey import get_original

from probe_ext.client.wire.portable_switch import is_portable

NOT_ON_WINDOWS = (
    "load tests do not run on Windows itself: install and run probe inside WSL (Windows Subsystem for Linux)"
)
_EPOLLIN = 1
_WAKE = b"\0"
_WAKE_BYTES = 4096

Ready = Sequence[tuple[int, int]]
"""descriptors that can be read, each with a mask"""


class Poller(Protocol):
    """Watches descriptors. One thread polls; others may register and unregister meanwhile."""

    def register(self, descriptor: int) -> None:
        """Watch a descriptor. OSError if the kernel cannot watch more."""

    def unregister(self, descriptor: int) -> None:
        """Stop watching it; it may be closed already."""

    def poll(self, timeout: float | None) -> Ready:
        """Wait for readable descriptors, for at most `timeout` seconds."""


def make_poller() -> Poller:
    """Return the poller of this platform, as the switch asks."""
    return SelectorPoller() if is_portable() or not _has_epoll() else EpollPoller()


def _has_epoll() -> bool:
    try:
        return bool(get_original("select", "epoll"))
    except AttributeError:
        return False


class EpollPoller:
    """Linux's epoll: cheap with many sockets, and may be changed while it waits."""

    def __init__(self) -> None:
        self._epoll: Any = get_original("select", "epoll")()

    def register(self, descriptor: int) -> None:
        """Watch a descriptor. OSError if the kernel cannot watch more."""
        self._epoll.register(descriptor, _EPOLLIN)

    def unregister(self, descriptor: int) -> None:
        """Stop watching it; it may be closed already."""
        with suppress(OSError):
            self._epoll.unregister(descriptor)

    def poll(self, timeout: float | None) -> Ready:
        """Wait for readable descriptors."""
        ready: Ready = self._epoll.poll(-1 if timeout is None else timeout)
        return ready


class _OriginalPoll(selectors.PollSelector):
    """Not gevent's poll, which would wait in the hub; on macOS, kqueue is out of reach once gevent has patched."""

    _selector_cls = get_original("select", "poll")


class SelectorPoller:
    """A selector of the standard library, which must not be changed while it waits: changes are queued, and wake it."""

    def __init__(self) -> None:
        self._selector = _OriginalPoll()
        self._changes: deque[tuple[bool, int]] = deque()
        self._wake_end, self._waker = os.pipe()
        for end in (self._wake_end, self._waker):
            os.set_blocking(end, False)
        self._selector.register(self._wake_end, selectors.EVENT_READ)

    def register(self, descriptor: int) -> None:
        """Watch a descriptor."""
        self._change((True, descriptor))

    def unregister(self, descriptor: int) -> None:
        """Stop watching it."""
        self._change((False, descriptor))

    def _change(self, change: tuple[bool, int]) -> None:
        self._changes.append(change)
        with suppress(BlockingIOError):  # full: it will wake up in any case
            os.write(self._waker, _WAKE)

    def poll(self, timeout: float | None) -> Ready:
        """Wait for readable descriptors."""
        self._apply_changes()
        try:
            ready = self._selector.select(timeout)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            return ()  # closed since the changes were applied: its removal is queued
        if any(key.fd == self._wake_end for key, _ in ready):
            with suppress(BlockingIOError):
                os.read(self._wake_end, _WAKE_BYTES)
        return [(key.fd, mask) for key, mask in ready if key.fd != self._wake_end]

    def _apply_changes(self) -> None:
        while self._changes:
            added, descriptor = self._changes.popleft()
            with suppress(KeyError):
                self._selector.unregister(descriptor)
            if added:
                self._selector.register(descriptor, selectors.EVENT_READ)
