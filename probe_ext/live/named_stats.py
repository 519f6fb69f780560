"""TTFT and longest gap by the name of Locust's statistics, at full resolution."""

from dataclasses import dataclass

import numpy as np

from probe_ext.live.reply_batch import Batch
from probe_ext.measure.sketch import LatencySketch

MAX_NAMES = 200  # Locust's own table shows 500


class Line:
    """The replies of one name since the run began."""

    def __init__(self) -> None:
        self.replies = self.failed = 0
        self.ttft, self.gap, self.tpot = LatencySketch(), LatencySketch(), LatencySketch()

    def add(self, batch: Batch) -> None:
        """Add replies."""
        self.replies += len(batch)
        self.failed += int(batch.failed.sum())
        self.ttft.add(batch.ttft[batch.ttft >= 0].tolist())
        self.gap.add(batch.gap[batch.gap >= 0].tolist())
        self.tpot.add((1 / batch.rate[batch.rate > 0]).tolist())

    def merge(self, other: "Line") -> None:
        """Add another line's replies."""
        self.replies += other.replies
        self.failed += other.failed
        for sketch, added in ((self.ttft, other.ttft), (self.gap, other.gap), (self.tpot, other.tpot)):
            sketch.merge(added)


@dataclass(frozen=True)
class Streaming:
    """The figures of one name; seconds and tokens per second."""

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
    """Figures by name."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}

    def add(self, batch: Batch) -> None:
        """Add replies; names beyond MAX_NAMES are only in Locust's own table."""
        for name in dict.fromkeys(batch.name):
            if name in self._lines or len(self._lines) < MAX_NAMES:
                matching = batch.where(np.array([other == name for other in batch.name], dtype=np.bool_))
                self._lines.setdefault(name, Line()).add(matching)

    def table(self) -> list[Streaming]:
        """Return the figures of each name."""
        return [_streaming(name, line) for name, line in sorted(self._lines.items())]

    def total(self, name: str) -> Streaming:
        """Return the figures of all replies, under this name."""
        total = Line()
        for line in self._lines.values():
            total.merge(line)
        return _streaming(name, total)


def _streaming(name: str, line: Line) -> Streaming:
    tpot = line.tpot.quantile(0.5)
    return Streaming(
        name,
        line.replies,
        line.failed,
        ttft_p50=line.ttft.quantile(0.50),
        ttft_p95=line.ttft.percentile("p95"),
        ttft_p99=line.ttft.percentile("p99"),
        longest_gap_p95=line.gap.percentile("p95"),
        longest_gap_max=line.gap.maximum if line.gap.count else None,
        decode_rate_p50=1 / tpot if tpot else None,
    )
