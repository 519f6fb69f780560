"""The one place that reads the clock.

Durations and marks are monotonic seconds (CLOCK_MONOTONIC: shared by the processes of one machine, never
stepped). Wall time names runs and joins a run to the outside world; it never measures.
"""

import math
import time
from datetime import UTC, datetime

TOGETHER = 20e-6
"""seconds by which a moment that was carried from one axis to the other may seem to lie ahead"""
_CLOSE = 1e-6
"""seconds between two readings that are near enough; undisturbed they are a tenth of that apart"""
_TRIES = range(5)


def monotonic() -> float:
    """Seconds since an arbitrary, fixed point of this machine."""
    return time.monotonic()


def wall() -> float:
    """Seconds since the Unix epoch; may step."""
    return time.time()


def wall_ns() -> int:
    """Nanoseconds since the Unix epoch, the axis of the kernel's receive timestamps."""
    return time.time_ns()


def both() -> tuple[float, int]:
    """Monotonic seconds and wall nanoseconds of one moment.

    Between two readings this process may lose its core, or find its caches cold: they are taken again until two are
    close, and the closest count. The monotonic one comes last, so that a moment carried from the wall's axis to ours
    is never too early.
    """
    narrowest, found = math.inf, (0.0, 0)
    for _ in _TRIES:
        before = time.monotonic()
        wall_time = time.time_ns()
        after = time.monotonic()
        if after - before < narrowest:
            narrowest, found = after - before, (after, wall_time)
            if narrowest < _CLOSE:
                break
    return found


def cpu() -> float:
    """Seconds of user and system CPU time that this process has used."""
    return time.process_time()


def utc_text(unix: float) -> str:
    """`2026-01-31T12:00:00.000Z` for Unix seconds."""
    stamp = datetime.fromtimestamp(unix, tz=UTC)
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_compact(unix: float) -> str:
    """`20260131T120000Z`: sorts by time and is safe in a file name."""
    return datetime.fromtimestamp(unix, tz=UTC).strftime("%Y%m%dT%H%M%SZ")
