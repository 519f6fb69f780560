"""Connect to whichever of a host's addresses answers first (RFC 8305), so that a dead one costs 250 ms."""

import selectors
import socket
from contextlib import ExitStack, closing
from itertools import chain, zip_longest
from typing import Any

from probe_ext.measure import clock

_STAGGER_S = 0.25


def first_connection(host: str, port: int, timeout: float) -> socket.socket:
    """Return a connected socket with this timeout. OSError if there is none in time; gaierror for an unknown name."""
    addresses = _interleaved(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
    until, error = clock.monotonic() + timeout, OSError("host name has no address")
    with closing(selectors.DefaultSelector()) as attempts, ExitStack() as losers:
        while addresses or attempts.get_map():
            if addresses:
                sock = losers.enter_context(socket.socket(*addresses[0][:3]))
                sock.setblocking(False)
                sock.connect_ex(addresses.pop(0)[4])
                attempts.register(sock, selectors.EVENT_WRITE)
            left = until - clock.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            for key, _ in attempts.select(min(left, _STAGGER_S) if addresses else left):
                attempts.unregister(key.fileobj)
                made: Any = key.fileobj
                if not (number := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    winner = socket.socket(fileno=made.detach())
                    winner.settimeout(timeout)
                    return winner
                error = OSError(number, "connection failed")
    raise error


def _interleaved(addresses: list[Any]) -> list[Any]:
    families = dict.fromkeys(address[0] for address in addresses)
    turns = zip_longest(*([a for a in addresses if a[0] == family] for family in families))
    return [address for address in chain.from_iterable(turns) if address is not None]
