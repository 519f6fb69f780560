"""Read a socket together with the time at which the kernel received what is read.

With SO_TIMESTAMPNS, Linux stamps TCP segments on arrival (real-time clock) and hands the stamp over as ancillary data.
The lag `now − stamp`, taken at the read, moves the stamp onto the monotonic clock: so our own lateness leaves the
figures, and is itself measured. Segments merged into one late read share the stamp of the last.
"""

import socket
import struct
import sys

from probe_ext.measure import clock

_OPTION = 35
"""SO_TIMESTAMPNS, and the type of the message it brings, on Linux for every architecture that CPython 3.11+ runs on"""
_STAMP = struct.Struct("@qq")
_ANCILLARY = socket.CMSG_SPACE(_STAMP.size) if hasattr(socket, "CMSG_SPACE") else 0
READ_SIZE = 32 * 2**10
MAX_LAG = 60.0
"""seconds: a lag beyond it, or a negative one, is a step of the wall clock and no lag"""


Read = tuple[bytes, float, float | None]
"""what one read brought: the bytes; monotonic seconds when they came, by the kernel or else by the read; and seconds
between the kernel's receipt and our read, None without a stamp. A plain tuple: one is made a token"""


def ask_for_stamps(sock: socket.socket) -> bool:
    """Have the kernel stamp what arrives on this socket. False where the platform cannot."""
    if not sys.platform.startswith("linux") or struct.calcsize("@l") != 8:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _OPTION, 1)
    except OSError:
        return False
    return True


def read_plain(sock: socket.socket) -> Read:
    """One read without stamps. BlockingIOError and OSError as `recv` raises them."""
    data = sock.recv(READ_SIZE)
    return data, clock.monotonic(), None


def read_stamped(sock: socket.socket) -> Read:
    """One read with the kernel's receive time. BlockingIOError and OSError as `recvmsg` raises them."""
    data, ancillary, _, _ = sock.recvmsg(READ_SIZE, _ANCILLARY)
    now, wall_ns = clock.both()
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _OPTION and len(value) == _STAMP.size:
            seconds, nanoseconds = _STAMP.unpack(value)
            lag = (wall_ns - seconds * 1_000_000_000 - nanoseconds) / 1e9
            if 0 <= lag < MAX_LAG:
                return data, now - lag, lag
    return data, now, None
