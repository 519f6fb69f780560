"""Read a socket together with the time at which the kernel received the bytes.

With SO_TIMESTAMPNS, Linux stamps TCP segments on arrival (wall clock) and delivers the stamp as ancillary data. The
offset between the two clocks, measured just before a round of reads, converts it to monotonic time. So token times do
not contain our own delay, and the delay itself is measured (lag, and the part of it that was not intended). Segments
merged into one late read share the stamp of the last one. Without stamps, times are those of the reads, and the lag is
how late the reading thread was by its own measure.
"""

import socket
import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import sub
from typing import Any, NamedTuple

from probe_ext.client.wire.portable_switch import is_portable
from probe_ext.measure import clock

READ_SIZE_BYTES = 32 * 2**10
SLICE_BYTES = 64 * 2**10
"""parsed without a break: if a server sends nothing but tiny events, these take a tenth of a second"""
MAX_LAG_S = 60.0
"""a larger lag, or one below -CLOCK_TOLERANCE_S, is a step of the wall clock"""
_SO_TIMESTAMPNS = 35
"""socket option and message type, the same on every Linux architecture that CPython 3.11+ supports"""
_MESSAGE_KIND = (socket.SOL_SOCKET, _SO_TIMESTAMPNS)
_STAMP = struct.Struct("@qq")
_TCP_INFO_BYTES, _STATE_AND_SEGMENTS = 156, struct.Struct("@B151xI")
"""`tcpi_state` and `tcpi_data_segs_in` (since Linux 4.6) of Linux's `struct tcp_info`"""
_ESTABLISHED = 1
_ANCILLARY_BYTES = socket.CMSG_SPACE(_STAMP.size) if hasattr(socket, "CMSG_SPACE") else 0

ReadRound = tuple[int, float, float, float | None]
"""shared by all reads of one moment: nanoseconds to add to a stamp to get monotonic time; start and end of the
intended wait for more sockets (monotonic seconds, both 0 without a wait); how late the thread was, where it measures
that"""
Read = tuple[bytes, bytes, float, ReadRound]
"""data, raw kernel stamp (may be empty), monotonic seconds of the read, its round"""
ITEMS_PER_READ = 4
FlatReads = list[Any]
"""the items of all reads, one after another: one long-lived object per read would make the garbage collector scan
them again and again, which stops the reads for tens of milliseconds"""

_Times = tuple[list[float], list[float], list[float]]
"""arrival time of each read; lag and overdue of each read with a valid stamp"""


class Arrivals(NamedTuple):
    """Several reads in columns; `data` and `at` leave out empty reads."""

    data: Sequence[bytes]
    at: Sequence[float]
    """monotonic seconds when the bytes arrived (kernel stamp, else time of the read); never decreasing"""
    lags: Sequence[float]
    """seconds from the kernel's receipt to our read, for each read with a valid stamp; for each other read how late the
    reading thread was, if it measured that"""
    overdue: Sequence[float]
    """the part of each lag that was not an intended wait (see ReadRound)"""
    numbers: Sequence[int] = ()
    """number of the read that each piece of `data` is of; empty if each is a read of its own, the next one"""

    def slices(self) -> "Iterator[Arrivals]":
        """Split into parts of at most SLICE_BYTES, or of a single read; the lags stay whole, with the first part."""
        ends = list(accumulate(map(len, self.data)))
        if not ends or ends[-1] <= SLICE_BYTES:
            yield self
            return
        start, before, lags, overdue = 0, 0, self.lags, self.overdue
        for index in range(1, len(ends) + 1):
            if index == len(ends) or ends[index] - before > SLICE_BYTES:
                numbers = self.numbers[start:index]
                yield Arrivals(self.data[start:index], self.at[start:index], lags, overdue, numbers)
                start, before, lags, overdue = index, ends[index - 1], (), ()


def begin_round(wait_start: float = 0.0, wait_end: float = 0.0, late: float | None = None) -> ReadRound:
    """Measure the clock offset for the reads that follow."""
    monotonic, wall_ns = clock.read_clock_pair()
    return round(monotonic * 1e9) - wall_ns, wait_start, wait_end, late


def enable_timestamps(sock: socket.socket) -> bool:
    """Ask the kernel to stamp what arrives on this socket. False if the platform cannot."""
    if is_portable() or struct.calcsize("@l") != 8:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def received_segments(sock: socket.socket) -> int | None:
    """Return how many TCP segments with data this connection has received; None where the kernel does not say.

    Unlike reads, segments don't depend on when they are read: fewer segments than events means that the sender, or
    something on the way, put several events into one.
    """
    return None if is_portable() else _state_and_segments(sock)[1]


def is_quiet(sock: socket.socket, segments: int) -> bool:
    """Return whether the connection is open and has not received more segments with data than these.

    `segments`: by `received_segments`. This takes half as long as trying to read.
    """
    return _state_and_segments(sock) == (_ESTABLISHED, segments)


def _state_and_segments(sock: socket.socket) -> tuple[int | None, int | None]:
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except (OSError, AttributeError):
        return None, None
    return _STATE_AND_SEGMENTS.unpack(info) if len(info) == _TCP_INFO_BYTES else (None, None)


def read_plain(sock: socket.socket, read_round: ReadRound) -> Read:
    """Read once, without a stamp. BlockingIOError and OSError as `recv` raises them."""
    data = sock.recv(READ_SIZE_BYTES)
    return data, b"", clock.monotonic(), read_round


def read_stamped(sock: socket.socket, read_round: ReadRound) -> Read:
    """Read once, with the kernel's stamp. BlockingIOError and OSError as `recvmsg` raises them."""
    data, ancillary, _, _ = sock.recvmsg(READ_SIZE_BYTES, _ANCILLARY_BYTES)
    stamp = ancillary[0][2] if ancillary and ancillary[0][:2] == _MESSAGE_KIND else b""
    return data, stamp, clock.monotonic(), read_round


def arrivals(reads: FlatReads, earliest: float) -> Arrivals:
    """Convert reads to arrival times and lags. No time is before `earliest`, even if the wall clock stepped."""
    data, stamps, read_at, rounds = (reads[item::ITEMS_PER_READ] for item in range(ITEMS_PER_READ))
    times, lags, overdue = _times_if_all_stamped(stamps, read_at, rounds) or _times_one_by_one(stamps, read_at, rounds)
    at = list(accumulate(times, max, initial=earliest))[1:]
    if not all(data):
        at = [time for time, piece in zip(at, data, strict=True) if piece]
        data = [piece for piece in data if piece]
    return Arrivals(data, at, lags, overdue)


def _times_one_by_one(stamps: Sequence[bytes], read_at: Sequence[float], rounds: Sequence[ReadRound]) -> _Times:
    times_and_lags = list(map(_time_and_lag, stamps, read_at, rounds))
    stamped = [(at, lag, own) for (at, lag), own in zip(times_and_lags, rounds, strict=True) if lag is not None]
    return [at for at, _ in times_and_lags], [lag for _, lag, _ in stamped], [_overdue(*read) for read in stamped]


def _times_if_all_stamped(
    stamps: Sequence[bytes], read_at: Sequence[float], rounds: Sequence[ReadRound]
) -> _Times | None:
    """Do the same several times faster where every read has a valid stamp, as nearly always; None elsewhere."""
    try:
        parts = struct.unpack(f"@{2 * len(stamps)}q", b"".join(stamps))
    except struct.error:  # a read at the end of the connection, or a socket without stamps
        return None
    stamped = zip(parts[::2], parts[1::2], rounds, strict=True)
    at = [(seconds * 1_000_000_000 + nanoseconds + own[0]) / 1e9 for seconds, nanoseconds, own in stamped]
    lags = list(map(sub, read_at, at))
    if not lags or min(lags) < 0 or max(lags) >= MAX_LAG_S:
        return None
    return at, lags, list(map(_overdue, at, lags, rounds))


def _overdue(at: float, lag: float, read_round: ReadRound) -> float:
    _, wait_start, wait_end, _ = read_round
    return lag if at >= wait_end else max(0.0, lag - (wait_end - max(at, wait_start)))


def _time_and_lag(stamp: bytes, read_at: float, read_round: ReadRound) -> tuple[float, float | None]:
    if len(stamp) == _STAMP.size:
        seconds, nanoseconds = _STAMP.unpack(stamp)
        at = (seconds * 1_000_000_000 + nanoseconds + read_round[0]) / 1e9
        if -clock.CLOCK_TOLERANCE_S <= read_at - at < MAX_LAG_S:
            return min(at, read_at), max(0.0, read_at - at)
    return read_at, None if stamp else read_round[3]
