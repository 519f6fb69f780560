"""Read a socket together with the time at which the kernel received what is read.

With SO_TIMESTAMPNS, Linux stamps TCP segments on arrival (real-time clock) and hands the stamp over as ancillary data.
How far the two clocks stand apart, taken just before reading, moves the stamp onto the monotonic clock: so our own
lateness leaves the figures, and is itself measured. Segments merged into one late read share the stamp of the last.
"""

import socket
import struct
import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from probe_ext.measure import clock

_OPTION = 35
"""SO_TIMESTAMPNS, and the type of the message it brings, on Linux for every architecture that CPython 3.11+ runs on"""
_STAMP = struct.Struct("@qq")
_ANCILLARY = socket.CMSG_SPACE(_STAMP.size) if hasattr(socket, "CMSG_SPACE") else 0
READ_SIZE = 32 * 2**10
MAX_LAG = 60.0
"""seconds: a lag beyond it, or one more negative than two clocks are read apart, is a step of the wall clock"""


Ancillary = Sequence[tuple[int, int, bytes]]
Read = tuple[bytes, Ancillary, float, int]
"""what one read brought: the bytes, what the kernel said of them, monotonic seconds of the read, and nanoseconds to add
to a stamp to have it on our monotonic clock. Looked at when nothing waits. A plain tuple: one is made a token"""


class Arrivals(NamedTuple):
    """What several reads brought, a column each; reads that brought nothing are left out of the first two."""

    data: Sequence[bytes]
    at: Sequence[float]
    """monotonic seconds when the bytes came, by the kernel or else by the read; they never fall"""
    lags: Sequence[float]
    """seconds between the kernel's receipt and our read, where there is a stamp"""


def offset() -> int:
    """Nanoseconds from the wall clock's axis to the monotonic one, now."""
    monotonic, wall_ns = clock.both()
    return round(monotonic * 1e9) - wall_ns


def ask_for_stamps(sock: socket.socket) -> bool:
    """Have the kernel stamp what arrives on this socket. False where the platform cannot."""
    if not sys.platform.startswith("linux") or struct.calcsize("@l") != 8:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _OPTION, 1)
    except OSError:
        return False
    return True


def read_plain(sock: socket.socket, to_monotonic: int) -> Read:
    """One read without stamps. BlockingIOError and OSError as `recv` raises them."""
    data = sock.recv(READ_SIZE)
    return data, (), clock.monotonic(), to_monotonic


def read_stamped(sock: socket.socket, to_monotonic: int) -> Read:
    """One read with the kernel's receive time. BlockingIOError and OSError as `recvmsg` raises them."""
    data, ancillary, _, _ = sock.recvmsg(READ_SIZE, _ANCILLARY)
    return data, ancillary, clock.monotonic(), to_monotonic


def arrivals(reads: Sequence[Read], floor: float) -> Arrivals:
    """When the bytes of these reads came, and how late they were read.

    Nothing came before `floor`, nor before what came before it, whatever a step of the wall clock says.
    """
    times = _all_stamped(reads) or [_time_and_lag(read) for read in reads]
    at = list(accumulate((at for at, _ in times), max, initial=floor))[1:]
    lags = [lag for _, lag in times if lag is not None]
    data = [read[0] for read in reads]
    if not all(data):
        at = [moment for moment, some in zip(at, data, strict=True) if some]
        data = [some for some in data if some]
    return Arrivals(data, at, lags)


def _all_stamped(reads: Sequence[Read]) -> list[tuple[float, float | None]] | None:
    """`_time_and_lag` of each, where each has a good stamp: as it mostly is, and several times as fast."""
    try:
        messages = [read[1][0] for read in reads]
        parts = struct.unpack(f"@{2 * len(reads)}q", b"".join([value for _, _, value in messages]))
    except (IndexError, struct.error):  # a read at the connection's end, or a socket without stamps
        return None
    if {message[:2] for message in messages} != {(socket.SOL_SOCKET, _OPTION)}:
        return None
    stamps = zip(parts[::2], parts[1::2], reads, strict=True)
    at = [(seconds * 1_000_000_000 + part + read[3]) / 1e9 for seconds, part, read in stamps]
    lags = [read[2] - moment for read, moment in zip(reads, at, strict=True)]
    return list(zip(at, lags, strict=True)) if min(lags) >= 0 and max(lags) < MAX_LAG else None


def _time_and_lag(read: Read) -> tuple[float, float | None]:
    _, ancillary, now, to_monotonic = read
    for level, kind, value in ancillary:
        if kind == _OPTION and level == socket.SOL_SOCKET and len(value) == _STAMP.size:
            seconds, nanoseconds = _STAMP.unpack(value)
            at = (seconds * 1_000_000_000 + nanoseconds + to_monotonic) / 1e9
            if -clock.TOGETHER <= now - at < MAX_LAG:
                return min(at, now), max(0.0, now - at)
    return now, None
