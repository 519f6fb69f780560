"""The rolling window of a long run so far: throughput, failures and TTFT, in memory that does not grow.

Requests are counted in slices of the window, so the window's start is known to a slice. The report computes the same
figures from all rows (`verdict/results/rolling_windows.py`).
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from probe_ext.measure.outcome import CLIENT_SIDE, Outcome
from probe_ext.measure.sketch import LatencySketch
from probe_ext.measure.table_rows import ReplyRow

_SLICES = 60


@dataclass(frozen=True, slots=True)
class RollingNow:
    """Figures of the requests that ended in the window before now."""

    seconds: float
    """length of the window"""
    complete_per_s: float
    """complete replies per second"""
    failed_share: float | None
    """None without a request"""
    ttft_p95: float | None
    """seconds"""


@dataclass(slots=True)
class _Slice:
    number: int
    """counted from the start of the run"""
    requests: int = 0
    complete: int = 0
    ttft: LatencySketch = field(default_factory=LatencySketch)


class RollingReplies:
    """Takes rows in any order; one that comes later than its window counts nowhere."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._slices: deque[_Slice] = deque()

    def add(self, rows: Iterable[ReplyRow]) -> None:
        """Add requests that ended."""
        ttfts: dict[int, list[float]] = {}
        for row in rows:
            if row.outcome in CLIENT_SIDE:
                continue
            part = self._slice(int(row.end / self._seconds * _SLICES))
            if part is None:
                continue
            part.requests += 1
            part.complete += row.outcome == Outcome.COMPLETE
            if row.first is not None and row.sent is not None and row.first >= row.sent:
                ttfts.setdefault(part.number, []).append(row.first - row.sent)
        for part in self._slices:
            part.ttft.add(ttfts.get(part.number, []))

    def now(self, t: float) -> RollingNow | None:
        """Return the figures at a second of the run; None before the first window is full."""
        if t < self._seconds:
            return None
        first = int(t / self._seconds * _SLICES) - _SLICES
        while self._slices and self._slices[0].number <= first:
            self._slices.popleft()
        requests = sum(part.requests for part in self._slices)
        complete = sum(part.complete for part in self._slices)
        ttft = LatencySketch()
        for part in self._slices:
            ttft.merge(part.ttft)
        return RollingNow(
            self._seconds,
            complete / self._seconds,
            (requests - complete) / requests if requests else None,
            ttft.percentile("p95"),
        )

    def _slice(self, number: int) -> _Slice | None:
        """Return the slice of a number; None if it has left the window."""
        if self._slices and number <= self._slices[-1].number - _SLICES:
            return None
        at = len(self._slices)
        while at and self._slices[at - 1].number > number:
            at -= 1
        if at and self._slices[at - 1].number == number:
            return self._slices[at - 1]
        made = _Slice(number)
        self._slices.insert(at, made)
        while len(self._slices) > _SLICES:
            self._slices.popleft()
        return made
