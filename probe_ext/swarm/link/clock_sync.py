"""Synchronise a worker's monotonic clock with the master's over a whole run, from pings (Cristian's algorithm).

The worker read its clock between the ping's departure t0 and the answer's arrival t1. So its clock minus the midpoint
is the offset, wrong by at most half the round trip. Measured again every few seconds, the offsets form a line of
straight segments, each as long as one line passes all its measurements within their errors: a clock with a steady drift
needs two points however long the run is.

The stated error holds if the drift changes by at most DRIFT between two measurements. A measurement further off means
that the clock was stepped, and the whole step is the error of that segment.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass, replace

DRIFT = 100e-6  # seconds per second: bound of a clock's rate; crystals stay within some tens of ppm
_MIN_RATE_SPAN_S = 30.0  # measurements closer than this do not give a useful rate
_SAME_MEASUREMENT_S = 2.0  # pings closer than this are one measurement, of which the best counts


@dataclass(frozen=True, slots=True)
class Offset:
    """The worker's monotonic seconds minus the master's."""

    seconds: float
    error: float
    """the true offset is within ± this"""


SAME_CLOCK = Offset(0.0, 0.0)


def offset(t0: float, t1: float, worker: float) -> Offset:
    """Return the offset from one ping: master's clock at departure and arrival, worker's clock in between."""
    return Offset(worker - (t0 + t1) / 2, (t1 - t0) / 2)


@dataclass(frozen=True, slots=True)
class Segment:
    """The end of a straight segment, which starts at the end of the one before."""

    t: float
    """master's monotonic seconds"""
    offset: float
    error: float
    """of this end"""
    low: float = -math.inf
    """lowest rate at which a line from the start passes every measurement of the segment"""
    high: float = math.inf
    """highest such rate"""
    max_error: float = 0.0
    """largest error of a measurement in the segment"""
    max_gap: float = 0.0
    """longest time between two of them"""


class ClockSync:
    """The clock offset of one worker over time."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._taken: tuple[float, Offset] | None = None
        """newest measurement"""
        self._undo: tuple[int, list[Segment]] = (0, [])
        """index from which to restore which segments, to replace the newest measurement"""

    def __bool__(self) -> bool:
        """Whether anything was measured."""
        return bool(self._segments)

    def add(self, t: float, measured: Offset) -> None:
        """Add a ping's offset at the master's time `t`, unless what is known already is more precise."""
        if self._taken and abs(t - self._taken[0]) <= _SAME_MEASUREMENT_S:
            if measured.error < self._taken[1].error:
                index, segments = self._undo
                self._segments[index:] = segments
                self._take(t, measured)
        elif self._adds_information(t, measured):
            self._take(t, measured)

    def _adds_information(self, t: float, measured: Offset) -> bool:
        if not self._segments:
            return True
        since = t - self._segments[-1].t
        return since > 0 and measured.error <= self._segments[-1].error + DRIFT * since

    def _take(self, t: float, measured: Offset) -> None:
        self._taken, index = (t, measured), max(0, len(self._segments) - 1)
        self._undo = index, self._segments[index:]  # a measurement changes the last segment, or adds one
        if self._segments:
            self._extend(t, measured)
        else:
            self._segments.append(Segment(t, measured.seconds, measured.error, max_error=measured.error))

    def _extend(self, t: float, new: Offset) -> None:
        """Extend the last segment if one line still passes all its measurements, else start a new one."""
        last = self._segments[-1]
        if len(self._segments) > 1 and not _stepped(self._segments[-2], last):
            longer = _extended(self._segments[-2], last, t, new)
            if longer is not None:
                self._segments[-1] = longer
                return
        fresh = _extended(last, replace(last, low=-math.inf, high=math.inf, max_error=0.0, max_gap=0.0), t, new)
        self._segments.append(fresh or Segment(t, new.seconds, new.error))

    def at(self, t: float) -> Offset:
        """Return the offset at the master's time `t`. ValueError if nothing was measured."""
        if not self._segments:
            raise ValueError("the worker's clock was never measured")
        n = bisect_right(self._segments, t, key=lambda segment: segment.t)
        if n == 0:
            first = self._segments[0]
            return Offset(first.offset, first.error + DRIFT * (first.t - t))
        if n == len(self._segments):
            return self._extrapolate(t)
        a, b = self._segments[n - 1], self._segments[n]
        return Offset(a.offset + _rate(a, b) * (t - a.t), _error(a, b))

    def _extrapolate(self, t: float) -> Offset:
        """Extrapolate, at the last segment's rate if that is long enough."""
        last, ahead = self._segments[-1], t - self._segments[-1].t
        if len(self._segments) > 1:
            before = self._segments[-2]
            if last.t - before.t >= _MIN_RATE_SPAN_S and not _stepped(before, last):
                rate = _rate(before, last)
                return Offset(last.offset + rate * ahead, last.error + (DRIFT + abs(rate)) * ahead)
        return Offset(last.offset, last.error + DRIFT * ahead)

    def segments(self, origin: float) -> list[list[float]]:
        """Return, for the manifest, lists of second of the run, offset, and error of the segment that ends there."""
        return [
            [round(b.t - origin, 3), round(b.offset, 6), round(_error(a, b) if a else b.error, 6)]
            for a, b in zip([None, *self._segments], self._segments, strict=False)
        ]

    def rate(self) -> float | None:
        """Return the seconds per second that the worker's clock gains; None if too little time was measured."""
        if not self._segments or self._segments[-1].t - self._segments[0].t < _MIN_RATE_SPAN_S:
            return None
        return _rate(self._segments[0], self._segments[-1])


def _extended(a: Segment, end: Segment, t: float, new: Offset) -> Segment | None:
    """Return the segment from `a` extended to `t`; None if no line from `a` passes all its measurements."""
    span, slack = t - a.t, new.error + a.error
    low = max(end.low, (new.seconds - slack - a.offset) / span)
    high = min(end.high, (new.seconds + slack - a.offset) / span)
    if low > high:
        return None
    rate = min(max((new.seconds - a.offset) / span, low), high)
    offset_there = a.offset + rate * span
    error = new.error + abs(offset_there - new.seconds)
    return Segment(t, offset_there, error, low, high, max(end.max_error, new.error), max(end.max_gap, t - end.t))


def _rate(a: Segment, b: Segment) -> float:
    return (b.offset - a.offset) / (b.t - a.t)


def _stepped(a: Segment, b: Segment) -> bool:
    """Whether a clock was stepped between two measurements."""
    return abs(b.offset - a.offset) > a.error + b.error + DRIFT * (b.t - a.t)


def _error(a: Segment, b: Segment) -> float:
    """Return the segment's error: its distance from the measurements, and the drift possible between them."""
    if _stepped(a, b):
        return a.error + b.error + abs(b.offset - a.offset)
    return a.error + 2 * b.max_error + DRIFT * b.max_gap / 2
