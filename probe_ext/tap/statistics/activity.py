"""Requests in flight over time, in a fixed number of equal spans that grow with the recording."""

from dataclasses import dataclass

MAX_SPANS = 240
FIRST_SPAN_S = 1.0
_MAX_TIME_S = 100 * 366 * 86_400.0


@dataclass(slots=True)
class Span:
    """A stretch of the recording."""

    busy: float = 0.0
    """seconds of requests in flight, all together"""
    peak: int = 0
    """most in flight at the arrival of a request"""
    arrived: int = 0
    failed: int = 0


class Activity:
    """Adds requests, in any order, to spans of `width` seconds."""

    def __init__(self) -> None:
        self.width = FIRST_SPAN_S
        self.spans: list[Span] = []

    def add(self, at: float, duration: float, in_flight: int, *, failed: bool) -> None:
        """Add a request that arrived at `at`."""
        end = min(at + duration, _MAX_TIME_S)
        at = min(at, end)
        while end >= MAX_SPANS * self.width:
            self._halve()
        last = int(end / self.width)
        self.spans += [Span() for _ in range(last + 1 - len(self.spans))]
        first = self.spans[int(at / self.width)]
        first.arrived += 1
        first.failed += failed
        first.peak = max(first.peak, in_flight)
        for index in range(int(at / self.width), last + 1):
            begins, ends = index * self.width, (index + 1) * self.width
            self.spans[index].busy += max(0.0, min(end, ends) - max(at, begins))

    def _halve(self) -> None:
        pairs = [self.spans[n : n + 2] for n in range(0, len(self.spans), 2)]
        self.spans = [
            Span(
                sum(span.busy for span in pair),
                max(span.peak for span in pair),
                sum(span.arrived for span in pair),
                sum(span.failed for span in pair),
            )
            for pair in pairs
        ]
        self.width *= 2
