"""The current figures, from replies that ended in the last half a minute or so.

The window lasts MIN_WINDOW_S, or twice the usual duration of a reply if that is longer: otherwise most users of a slow
server would have no reply in it.
"""

from collections import Counter, deque
from dataclasses import dataclass

import numpy as np

from probe_ext.live.reply_batch import Batch
from probe_ext.verdict.evidence.columns import Floats
from probe_ext.verdict.evidence.evidence import percentile, quantile
from probe_ext.verdict.grading.reply_grades import BROKEN, SERVED, STRAINED

MIN_WINDOW_S, MAX_WINDOW_S = 30.0, 300.0


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """Figures of the replies in the window. Seconds, tokens per second; None without data."""

    replies: int
    failed: int
    served: int
    strained: int
    broken: int
    users: int
    """with a reply in the window"""
    ttft_p50: float | None
    ttft_p95: float | None
    decode_rate_p50: float | None
    decode_rate_p05: float | None
    longest_gap_max: float | None
    tokens_per_s: float | None
    """of all users together"""


class Window:
    """Replies enter and leave in batches."""

    def __init__(self) -> None:
        self.seconds = MIN_WINDOW_S
        self._batches: deque[tuple[float, Batch]] = deque()
        self._replies_by_user: Counter[str] = Counter()
        self._since = 0.0
        """replies sent before this second of the run met the load of users who have left"""

    def push(self, now: float, batch: Batch) -> None:
        """Add a batch."""
        recent = batch.where((batch.end >= now - self.seconds) & (batch.sent >= self._since))
        if len(recent):
            self._batches.append((now, recent))
            self._replies_by_user.update(recent.user)
        self.expire(now)
        durations = self._all("end") - self._all("sent")
        usual = quantile(durations, 0.5) or 0.0
        self.seconds = min(MAX_WINDOW_S, max(MIN_WINDOW_S, 2 * usual))

    def expire(self, now: float) -> None:
        """Remove old replies."""
        while self._batches and self._batches[0][0] < now - self.seconds:
            _, old = self._batches.popleft()
            for user in old.user:
                self._replies_by_user[user] -= 1
                if not self._replies_by_user[user]:
                    del self._replies_by_user[user]

    def restart(self, now: float) -> None:
        """Start again after users have left: only count replies sent from now on."""
        self._since = now
        self._batches.clear()
        self._replies_by_user.clear()

    def figures(self, now: float) -> WindowFigures:
        """Return the figures of the window."""
        ttft, rate, gap, tokens = (self._all(name) for name in ("ttft", "rate", "gap", "tokens"))
        grades = self._all("grades")
        length = min(self.seconds, now - self._since)
        return WindowFigures(
            replies=len(ttft),
            failed=int(self._all("failed").sum()),
            served=int((grades == SERVED).sum()),
            strained=int((grades == STRAINED).sum()),
            broken=int((grades == BROKEN).sum()),
            users=len(self._replies_by_user),
            ttft_p50=quantile(ttft, 0.50),
            ttft_p95=percentile(ttft, "p95"),
            decode_rate_p50=quantile(rate, 0.50),
            decode_rate_p05=percentile(rate, "p05"),
            longest_gap_max=quantile(gap, 1.0),
            tokens_per_s=float(np.nansum(tokens)) / length if length > 0 and len(tokens) else None,
        )

    def lags(self) -> dict[str, float]:
        """Return each worker's largest receive lag in the window, in seconds."""
        worst: dict[str, float] = {}
        for _, batch in self._batches:
            for worker, lag in zip(batch.worker, batch.lag.tolist(), strict=True):
                if lag == lag:  # noqa: PLR0124 - not NaN
                    worst[worker] = max(worst.get(worker, 0.0), lag)
        return worst

    def _all(self, name: str) -> Floats:
        parts = [getattr(batch, name) for _, batch in self._batches]
        return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)
