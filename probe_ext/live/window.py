"""The last half a minute or so of replies: the figures of now.

A reply is known when it has ended, so *now* is made of replies that ended a moment ago. The window lasts SHORTEST, or
twice as long as replies usually take where that is longer: else most users of a slow server would go unheard.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from probe_ext.live.reply_batch import Batch
from probe_ext.live.user_ledger import Ledger
from probe_ext.settings.slo import Users
from probe_ext.verdict.grading.user_grades import UserCounts
from probe_ext.verdict.values.columns import Floats
from probe_ext.verdict.values.evidence import quantile

SHORTEST, LONGEST = 30.0, 300.0
"""seconds"""
_FORGETFUL = 3
"""names remembered for each user that is heard"""


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """Of the replies that ended in the window. Seconds, tokens a second; None where there is nothing to tell from."""

    replies: int
    failed: int
    ttft_p50: float | None
    ttft_p95: float | None
    decode_rate_p50: float | None
    decode_rate_p05: float | None
    longest_gap_max: float | None
    tokens_per_s: float | None
    """tokens of these replies over the window's length, all users together"""


class Window:
    """Replies come in batches and leave as they came."""

    def __init__(self) -> None:
        self.seconds = SHORTEST
        self._batches: deque[tuple[float, Batch]] = deque()
        self._ledger = Ledger()
        self._since = 0.0
        """replies sent before this second of the run say nothing of the users there are now"""

    def push(self, now: float, batch: Batch) -> None:
        """Take a batch."""
        fresh = batch.where((batch.end >= now - self.seconds) & (batch.sent >= self._since))
        if len(fresh):
            self._batches.append((now, fresh))
            self._ledger.add(fresh.user, fresh.grades)
        self.age(now)
        spent = self._all("end") - self._all("sent")
        usual = quantile(spent, 0.5) or 0.0
        self.seconds = min(LONGEST, max(SHORTEST, 2 * usual))

    def age(self, now: float) -> None:
        """Let go what has become old."""
        while self._batches and self._batches[0][0] < now - self.seconds:
            _, old = self._batches.popleft()
            self._ledger.add(old.user, old.grades, times=-1)
        if self._ledger.seen > _FORGETFUL * (1 + self._ledger.heard()):
            self._ledger = Ledger()  # users who came and went are forgotten
            for _, batch in self._batches:
                self._ledger.add(batch.user, batch.grades)

    def restart(self, now: float) -> None:
        """Users have left, nobody knows which: only what is sent from here on tells of those who stay."""
        self._since = now
        self._batches.clear()
        self._ledger = Ledger()

    def people(self, rules: Users) -> UserCounts:
        """Users by what they felt in the window."""
        return self._ledger.people(rules)

    def figures(self, now: float) -> WindowFigures:
        """What the window holds."""
        ttft, rate, gap, tokens = (self._all(name) for name in ("ttft", "rate", "gap", "tokens"))
        length = min(self.seconds, now - self._since)
        return WindowFigures(
            replies=len(ttft),
            failed=int(self._all("failed").sum()),
            ttft_p50=quantile(ttft, 0.50),
            ttft_p95=quantile(ttft, 0.95),
            decode_rate_p50=quantile(rate, 0.50),
            decode_rate_p05=quantile(rate, 0.05),
            longest_gap_max=quantile(gap, 1.0),
            tokens_per_s=float(np.nansum(tokens)) / length if length > 0 and len(tokens) else None,
        )

    def lags(self) -> dict[str, float]:
        """Each worker's latest read in the window, seconds after the kernel had the bytes."""
        worst: dict[str, float] = {}
        for _, batch in self._batches:
            for worker, lag in zip(batch.worker, batch.lag.tolist(), strict=True):
                if lag == lag:  # noqa: PLR0124 - not NaN
                    worst[worker] = max(worst.get(worker, 0.0), lag)
        return worst

    def _all(self, name: str) -> Floats:
        parts = [getattr(batch, name) for _, batch in self._batches]
        return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)
