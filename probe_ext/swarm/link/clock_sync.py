"""How a worker's monotonic clock lies to the master's, over a whole run: from pings, as in Cristian's algorithm.

A ping that left at t0 and whose answer was back at t1 was read by the worker between the two; so the worker's clock
minus the middle is the offset, wrong by at most half the round trip. Measured again every few seconds, the offsets make
a line of straight pieces, each as long as one line passes every measurement on it within its error: a clock that drifts
steadily costs two points however long the run is.

The stated error holds as long as the drift changes by no more than DRIFT between two measurements; where a measurement
lies further off than that, the clock was moved, and the whole of its move is the error of that piece.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass, replace

DRIFT = 100e-6
"""seconds a second: a clock's rate is known to so much; crystals are within some tens of millionths"""
_STEADY = 30.0
"""seconds: two measurements at least so far apart tell the rate; closer ones would only carry their error forward"""
_TOGETHER = 2.0
"""seconds: pings so close are one measurement, and the best of them holds"""


@dataclass(frozen=True, slots=True)
class Offset:
    """Worker's monotonic seconds minus the master's."""

    seconds: float
    error: float
    """seconds: the true offset is within ± this"""


SAME_CLOCK = Offset(0.0, 0.0)


def offset(t0: float, t1: float, worker: float) -> Offset:
    """From one ping: master's clock when it left and when its answer was back, and the worker's clock in between."""
    return Offset(worker - (t0 + t1) / 2, (t1 - t0) / 2)


@dataclass(frozen=True, slots=True)
class Segment:
    """A point that the line goes through, and what is known of the piece that leads to it from the one before."""

    t: float
    """master's monotonic seconds"""
    offset: float
    error: float
    """of this point"""
    low: float = -math.inf
    """the least rate with which a line from the point before passes every measurement of the piece"""
    high: float = math.inf
    """the largest"""
    worst: float = 0.0
    """the largest error of a measurement on the piece"""
    apart: float = 0.0
    """the longest time between two of them"""


class ClockSync:
    """The offsets of one worker."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._taken: tuple[float, Offset] | None = None
        """the newest measurement, and below what the line was before it"""
        self._since = 0
        self._before: list[Segment] = []

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return bool(self._segments)

    def add(self, t: float, measured: Offset) -> None:
        """One ping's offset, at master's time `t`; nothing where what is known already is better."""
        if self._taken and abs(t - self._taken[0]) <= _TOGETHER:
            if measured.error < self._taken[1].error:
                self._segments[self._since :] = self._before
                self._take(t, measured)
        elif self._tells_more(t, measured):
            self._take(t, measured)

    def _tells_more(self, t: float, measured: Offset) -> bool:
        if not self._segments:
            return True
        since = t - self._segments[-1].t
        return since > 0 and measured.error <= self._segments[-1].error + DRIFT * since

    def _take(self, t: float, measured: Offset) -> None:
        self._taken, self._since = (t, measured), max(0, len(self._segments) - 1)
        self._before = self._segments[self._since :]  # taking a measurement changes the last point, or adds one
        if self._segments:
            self._extend(t, measured)
        else:
            self._segments.append(Segment(t, measured.seconds, measured.error, worst=measured.error))

    def _extend(self, t: float, new: Offset) -> None:
        """Move the open piece's end here, where one line passes all that was measured on it; else begin the next."""
        last = self._segments[-1]
        if len(self._segments) > 1 and not _moved(self._segments[-2], last):
            longer = _reach(self._segments[-2], last, t, new)
            if longer is not None:
                self._segments[-1] = longer
                return
        fresh = _reach(last, replace(last, low=-math.inf, high=math.inf, worst=0.0, apart=0.0), t, new)
        self._segments.append(fresh or Segment(t, new.seconds, new.error))

    def at(self, t: float) -> Offset:
        """The offset at master's time `t`, with its error. ValueError where nothing was measured."""
        if not self._segments:
            raise ValueError("the worker's clock was never measured")
        n = bisect_right(self._segments, t, key=lambda segment: segment.t)
        if n == 0:
            first = self._segments[0]
            return Offset(first.offset, first.error + DRIFT * (first.t - t))
        if n == len(self._segments):
            return self._ahead(t)
        a, b = self._segments[n - 1], self._segments[n]
        return Offset(a.offset + _rate(a, b) * (t - a.t), _error(a, b))

    def _ahead(self, t: float) -> Offset:
        """Behind the last measurement: along the last piece, if that is long enough to tell the rate."""
        last, ahead = self._segments[-1], t - self._segments[-1].t
        if len(self._segments) > 1:
            before = self._segments[-2]
            if last.t - before.t >= _STEADY and not _moved(before, last):
                rate = _rate(before, last)
                return Offset(last.offset + rate * ahead, last.error + (DRIFT + abs(rate)) * ahead)
        return Offset(last.offset, last.error + DRIFT * ahead)

    def segments(self, origin: float) -> list[list[float]]:
        """For the manifest: second of the run, offset, error of the piece that leads there."""
        return [
            [round(b.t - origin, 3), round(b.offset, 6), round(_error(a, b) if a else b.error, 6)]
            for a, b in zip([None, *self._segments], self._segments, strict=False)
        ]

    def rate(self) -> float | None:
        """Seconds a second that the worker's clock gains on the master's; None where the time is too short to tell."""
        if not self._segments or self._segments[-1].t - self._segments[0].t < _STEADY:
            return None
        return _rate(self._segments[0], self._segments[-1])


def _reach(a: Segment, end: Segment, t: float, new: Offset) -> Segment | None:
    """The piece from `a` made to end at `t`; None where no line from `a` passes all that was measured on it."""
    span, slack = t - a.t, new.error + a.error
    low = max(end.low, (new.seconds - slack - a.offset) / span)
    high = min(end.high, (new.seconds + slack - a.offset) / span)
    if low > high:
        return None
    rate = min(max((new.seconds - a.offset) / span, low), high)
    there = a.offset + rate * span
    worst, apart = max(end.worst, new.error), max(end.apart, t - end.t)
    return Segment(t, there, new.error + abs(there - new.seconds), low, high, worst, apart)


def _rate(a: Segment, b: Segment) -> float:
    return (b.offset - a.offset) / (b.t - a.t)


def _moved(a: Segment, b: Segment) -> bool:
    """Whether a clock was moved between two measurements, other than by its own drift."""
    return abs(b.offset - a.offset) > a.error + b.error + DRIFT * (b.t - a.t)


def _error(a: Segment, b: Segment) -> float:
    """Of the piece between: as far as it passes from what was measured, and what drift may do between two of those."""
    if _moved(a, b):
        return a.error + b.error + abs(b.offset - a.offset)
    return a.error + 2 * b.worst + DRIFT * b.apart / 2
