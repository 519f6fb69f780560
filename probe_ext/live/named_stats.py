"""TTFT and the longest gap of each line of Locust's table, at full resolution."""

from dataclasses import dataclass

import numpy as np

from probe_ext.live.reply_batch import Batch
from probe_ext.measure.sketch import LatencySketch

MOST = 200
"""lines; Locust's own table shows 500"""


class Line:
    """One name's replies since the run began."""

    def __init__(self) -> None:
        self.replies = self.failed = 0
        self.ttft, self.gap, self.tpot = LatencySketch(), LatencySketch(), LatencySketch()

    def add(self, batch: Batch) -> None:
        """Take replies."""
        self.replies += len(batch)
        self.failed += int(batch.failed.sum())
        self.ttft.add(batch.ttft[batch.ttft >= 0].tolist())
        self.gap.add(batch.gap[batch.gap >= 0].tolist())
        self.tpot.add((1 / batch.rate[batch.rate > 0]).tolist())

    def merge(self, other: "Line") -> None:
        """Take another line's."""
        self.replies += other.replies
        self.failed += other.failed
        for mine, theirs in ((self.ttft, other.ttft), (self.gap, other.gap), (self.tpot, other.tpot)):
            mine.merge(theirs)


@dataclass(frozen=True)
class Streaming:
    """A line of the table; seconds and tokens a second."""

    name: str
    replies: int
    failed: int
    ttft_p50: float | None
    ttft_p95: float | None
    ttft_p99: float | None
    longest_gap_p95: float | None
    longest_gap_max: float | None
    decode_rate_p50: float | None


class Names:
    """By the name that Locust's table has for a reply."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}

    def add(self, batch: Batch) -> None:
        """Take replies; names beyond MOST are left to Locust's own table."""
        for name in dict.fromkeys(batch.name):
            if name in self._lines or len(self._lines) < MOST:
                mine = batch.where(np.array([other == name for other in batch.name], dtype=np.bool_))
                self._lines.setdefault(name, Line()).add(mine)

    def table(self) -> list[Streaming]:
        """One line a name."""
        return [_streaming(name, line) for name, line in sorted(self._lines.items())]

    def total(self, name: str) -> Streaming:
        """All of them together."""
        together = Line()
        for line in self._lines.values():
            together.merge(line)
        return _streaming(name, together)


def _streaming(name: str, line: Line) -> Streaming:
    tpot = line.tpot.quantile(0.5)
    return Streaming(
        name,
        line.replies,
        line.failed,
        ttft_p50=line.ttft.quantile(0.50),
        ttft_p95=line.ttft.quantile(0.95),
        ttft_p99=line.ttft.quantile(0.99),
        longest_gap_p95=line.gap.quantile(0.95),
        longest_gap_max=line.gap.maximum if line.gap.count else None,
        decode_rate_p50=1 / tpot if tpot else None,
    )
