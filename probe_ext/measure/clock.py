"""The only module that reads the clock.

Durations and times are monotonic seconds (CLOCK_MONOTONIC: shared by all processes of a machine, never stepped). Wall
time names runs and relates them to the outside world; it is never used to measure.
"""

import math
import time
from datetime import UTC, datetime

CLOCK_TOLERANCE_S = 20e-6
"""a time converted from wall to monotonic may appear to be this far in the future"""
_MAX_PAIR_DISTANCE_S = 1e-6
"""ten times the distance of two undisturbed readings"""
_PAIR_ATTEMPTS = 5


def monotonic() -> float:
    """Seconds since a fixed but arbitrary point in time of this machine."""
    return time.monotonic()


def wall() -> float:
    """Seconds since the Unix epoch; may step."""
    return time.time()


def wall_ns() -> int:
    """Nanoseconds since the Unix epoch, as in the kernel's receive timestamps."""
    return time.time_ns()


def read_clock_pair() -> tuple[float, int]:
    """Return monotonic seconds and wall nanoseconds of the same moment.

    The process may be interrupted between the two readings, so they are repeated until they are close together; the
    closest pair counts. Monotonic time is read last, so that times converted from wall time are never too early.
    """
    narrowest, pair = math.inf, (0.0, 0)
    for _ in range(_PAIR_ATTEMPTS):
        before = time.monotonic()
        wall_time = time.time_ns()
        after = time.monotonic()
        if after - before < narrowest:
            narrowest, pair = after - before, (after, wall_time)
            if narrowest < _MAX_PAIR_DISTANCE_S:
                break
    return pair


def cpu() -> float:
    """User and system CPU time of this process in seconds."""
    return time.process_time()


def utc_text(unix: float) -> str:
    """Format Unix seconds as `2026-01-31T12:00:00.000Z`."""
    stamp = datetime.fromtimestamp(unix, tz=UTC)
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_compact(unix: float) -> str:
    """Format Unix seconds as `20260131T120000Z`, for file names."""
    return datetime.fromtimestamp(unix, tz=UTC).strftime("%Y%m%dT%H%M%SZ")
