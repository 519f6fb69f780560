"""Connect as a browser does (RFC 8305): resolve the name, then race its addresses, so that a dead one costs little.

Addresses of the two families alternate. The next one is tried as soon as one has failed, or after 250 ms, while earlier
attempts go on; the first connection wins. Resolving and connecting run in greenlets of their own, so that whoever waits
for the result can be told at once that nobody needs it any more.
"""

import itertools
import os
import socket
from collections.abc import Iterable
from typing import Any, NamedTuple

import gevent
import gevent.event
import gevent.socket
from gevent.monkey import get_original

from probe_ext.client.wire.address import Target
from probe_ext.measure import clock

STAGGER_S = 0.25

Address = tuple[Any, ...]
"""as `getaddrinfo` returns it: family, type, protocol, canonical name, socket address"""


class Dialled(NamedTuple):
    """A connected non-blocking socket."""

    sock: socket.socket
    resolved_at: float
    connected_at: float
    """monotonic seconds"""


class Dialing:
    """One connection being made, from now on."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._result: Any = gevent.event.AsyncResult()
        self._failed = gevent.event.Event()
        """set whenever an attempt has failed"""
        self._greenlets = [gevent.spawn(self._dial)]

    def wait(self) -> Dialled:
        """Return the connection. OSError or UnicodeError if there is none."""
        dialled: Dialled = self._result.get()
        return dialled

    def interrupt(self) -> None:
        """Make `wait` fail now."""
        self._finish(ConnectionAbortedError("interrupted"))

    def stop(self) -> None:
        """Give up whatever is still going on."""
        gevent.killall(self._greenlets, block=False)

    def _finish(self, result: Dialled | Exception) -> bool:
        """Set the result, unless there is one."""
        if self._result.ready():
            return False
        (self._result.set_exception if isinstance(result, Exception) else self._result.set)(result)
        return True

    def _dial(self) -> None:
        try:
            addresses = interleaved(_resolve(self._target))
        except Exception as error:
            self._finish(error)
            return
        resolved_at, failures = clock.monotonic(), list[Exception]()
        attempts: list[Any] = []
        for address in addresses:
            self._failed.clear()
            attempts.append(gevent.spawn(self._attempt, address, resolved_at, failures))
            self._greenlets.append(attempts[-1])
            self._failed.wait(STAGGER_S)
            if self._result.ready():
                return
        gevent.joinall(attempts)
        self._finish(failures[-1] if failures else OSError("host name has no address"))

    def _attempt(self, address: Address, resolved_at: float, failures: list[Exception]) -> None:
        try:
            plain = _connect(address)
        except OSError as error:
            failures.append(error)
        else:
            if not self._finish(Dialled(plain, resolved_at, clock.monotonic())):
                plain.close()  # another address was faster, or nobody waits any more
        self._failed.set()


def interleaved(addresses: Iterable[Address]) -> list[Address]:
    """Return the addresses with the two families in turn; the first one's comes first."""
    by_family: dict[Any, list[Address]] = {}
    for address in addresses:
        by_family.setdefault(address[0], []).append(address)
    rounds = itertools.zip_longest(*by_family.values())
    return [address for turn in rounds for address in turn if address is not None]


def _connect(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    cooperative = gevent.socket.socket(family, kind, protocol)
    try:
        cooperative.connect(where)
        cooperative.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain: socket.socket = get_original("socket", "socket")(fileno=cooperative.detach())
    finally:
        cooperative.close()
    plain.setblocking(False)
    return plain


def _resolve(target: Target) -> list[Address]:
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
