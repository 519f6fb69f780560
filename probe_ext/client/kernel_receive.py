"""Read a socket together with the time at which the kernel received what is read.

With SO_TIMESTAMPNS, Linux stamps TCP segments on arrival (real-time clock) and hands the stamp over as ancillary data.
How far the two clocks stand apart, taken just before a round of reads, moves the stamp onto the monotonic clock: so our
own lateness leaves the figures, and is itself measured: the lag, and how much of it was not meant. Segments merged into
one late read share the stamp of the last.
"""

import socket
import struct
import sys
from collections.abc import Sequence
from itertools import accumulate
from operator import sub
from typing import Any, NamedTuple

from probe_ext.measure import clock

_OPTION = 35
"""SO_TIMESTAMPNS, and the type of the message it brings, on Linux for every architecture that CPython 3.11+ runs on"""
_KIND = (socket.SOL_SOCKET, _OPTION)
_STAMP = struct.Struct("@qq")
_ANCILLARY = socket.CMSG_SPACE(_STAMP.size) if hasattr(socket, "CMSG_SPACE") else 0
READ_SIZE = 32 * 2**10
MAX_LAG = 60.0
"""seconds: a lag beyond it, or one more negative than two clocks are read apart, is a step of the wall clock"""


Round = tuple[int, float, float]
"""what the reads of one moment share: nanoseconds to add to a stamp to have it on our monotonic clock, and the
monotonic seconds from which and until which others were waited for, on purpose, both 0 where nothing was"""
Read = tuple[bytes, bytes, float, Round]
"""what one read brought: the bytes, the kernel's stamp as it gave it or nothing, monotonic seconds of the read"""
READ_ITEMS = 4
Reads = list[Any]
"""the items of one read after those of the other, looked at when nothing waits. An object a read that lives on would
have Python's garbage collector look through all of them again and again, and stop the reads for tens of milliseconds"""


Placed = tuple[list[float], list[float], list[float]]
"""when each came, and the lag of each that has a stamp, whole and overdue"""


class Arrivals(NamedTuple):
    """What several reads brought, a column each; reads that brought nothing are left out of the first two."""

    data: Sequence[bytes]
    at: Sequence[float]
    """monotonic seconds when the bytes came, by the kernel or else by the read; they never fall"""
    lags: Sequence[float]
    """seconds between the kernel's receipt and our read, where there is a stamp"""
    overdue: Sequence[float]
    """the same without what was waited on purpose, see `Round`: how late each was read beyond what was meant"""


def begin_round(since: float = 0.0, due: float = 0.0) -> Round:
    """Take how far the clocks stand apart, for the reads that come next."""
    monotonic, wall_ns = clock.both()
    return round(monotonic * 1e9) - wall_ns, since, due


def ask_for_stamps(sock: socket.socket) -> bool:
    """Have the kernel stamp what arrives on this socket. False where the platform cannot."""
    if not sys.platform.startswith("linux") or struct.calcsize("@l") != 8:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _OPTION, 1)
    except OSError:
        return False
    return True


def read_plain(sock: socket.socket, now: Round) -> Read:
    """One read without stamps. BlockingIOError and OSError as `recv` raises them."""
    data = sock.recv(READ_SIZE)
    return data, b"", clock.monotonic(), now


def read_stamped(sock: socket.socket, now: Round) -> Read:
    """One read with the kernel's receive time. BlockingIOError and OSError as `recvmsg` raises them."""
    data, ancillary, _, _ = sock.recvmsg(READ_SIZE, _ANCILLARY)
    stamp = ancillary[0][2] if ancillary and ancillary[0][:2] == _KIND else b""
    return data, stamp, clock.monotonic(), now


def arrivals(reads: Reads, floor: float) -> Arrivals:
    """When the bytes of these reads came, and how late they were read.

    Nothing came before `floor`, nor before what came before it, whatever a step of the wall clock says.
    """
    data, stamps, now, rounds = (reads[item::READ_ITEMS] for item in range(READ_ITEMS))
    came, lags, overdue = _all_stamped(stamps, now, rounds) or _one_by_one(stamps, now, rounds)
    at = list(accumulate(came, max, initial=floor))[1:]
    if not all(data):
        at = [moment for moment, some in zip(at, data, strict=True) if some]
        data = [some for some in data if some]
    return Arrivals(data, at, lags, overdue)


def _one_by_one(stamps: Sequence[bytes], now: Sequence[float], rounds: Sequence[Round]) -> Placed:
    found = list(map(_time_and_lag, stamps, now, rounds))
    known = [(at, lag, shared) for (at, lag), shared in zip(found, rounds, strict=True) if lag is not None]
    return [at for at, _ in found], [lag for _, lag, _ in known], [_overdue(*one) for one in known]


def _all_stamped(stamps: Sequence[bytes], now: Sequence[float], rounds: Sequence[Round]) -> Placed | None:
    """`_one_by_one` where each has a good stamp: as it mostly is, and several times as fast."""
    try:
        parts = struct.unpack(f"@{2 * len(stamps)}q", b"".join(stamps))
    except struct.error:  # a read at the connection's end, or a socket without stamps
        return None
    placed = zip(parts[::2], parts[1::2], rounds, strict=True)
    at = [(seconds * 1_000_000_000 + part + one[0]) / 1e9 for seconds, part, one in placed]
    lags = list(map(sub, now, at))
    if not lags or min(lags) < 0 or max(lags) >= MAX_LAG:
        return None
    return at, lags, list(map(_overdue, at, lags, rounds))


def _overdue(at: float, lag: float, shared: Round) -> float:
    """Of a lag, what was not waited for on purpose."""
    _, since, due = shared
    return lag if at >= due else max(0.0, lag - (due - max(at, since)))


def _time_and_lag(stamp: bytes, now: float, shared: Round) -> tuple[float, float | None]:
    if len(stamp) == _STAMP.size:
        seconds, nanoseconds = _STAMP.unpack(stamp)
        at = (seconds * 1_000_000_000 + nanoseconds + shared[0]) / 1e9
        if -clock.TOGETHER <= now - at < MAX_LAG:
            return min(at, now), max(0.0, now - at)
    return now, None
