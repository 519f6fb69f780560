"""The rolling window of the live page: the report's figures, in memory that does not grow."""

import numpy as np
import pytest
from worlds import reply

from probe_ext.live.rolling_replies import RollingReplies
from probe_ext.live.status_text import rolling_text
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.verdict.evidence.columns import from_rows
from probe_ext.verdict.results.rolling_windows import rolling_windows

WINDOW = 60.0


def rows_until(end: float) -> list[ReplyRow]:
    rng = np.random.default_rng(3)
    rows = []
    for t in np.arange(1.0, end, 0.5).tolist():
        failed = 100 < t < 120
        outcome = Outcome.CONNECT_FAILED if failed else Outcome.COMPLETE
        first = None if failed else t - 1 + float(rng.uniform(0.1, 0.4))
        rows.append(reply(0, t - 1, first=first, end=t, outcome=outcome.value))
    return rows


def test_the_live_window_shows_what_the_report_will() -> None:
    rows = rows_until(300.0)
    rolling = rolling_windows(from_rows(rows, ReplyRow), WINDOW)
    assert rolling is not None
    live, left = RollingReplies(WINDOW), list(rows)
    assert live.now(WINDOW - 1) is None
    for moment in rolling.moments:
        arrived = [row for row in left if row.end <= moment.t]
        left = left[len(arrived) :]
        live.add(reversed(arrived))  # in any order
        now = live.now(moment.t)
        assert now is not None
        assert now.complete_per_s == pytest.approx(moment.complete_per_s, abs=0.05)
        assert now.failed_share == pytest.approx(moment.failed_share, abs=0.02)
        assert now.ttft_p95 == pytest.approx(moment.ttft_p95, rel=0.05)


def test_memory_does_not_grow_and_late_rows_count_nowhere() -> None:
    live = RollingReplies(WINDOW)
    for t in range(0, 20_000, 3):
        live.add([reply(0, float(t), end=float(t))])
    assert len(live._slices) <= 60
    before = live.now(20_000.0)
    live.add([reply(0, 5.0, end=6.0), reply(0, 19_999.0, end=19_999.5, outcome=Outcome.CLIENT_ERROR.value)])
    assert live.now(20_000.0) == before


def test_the_window_in_words() -> None:
    live = RollingReplies(900.0)
    assert rolling_text(live.now(10.0)) == ""
    live.add(reply(0, 900.0 + i, end=901.0 + i, outcome=("cut" if i % 10 == 0 else "complete")) for i in range(90))
    assert rolling_text(live.now(1000.0)) == "last 15 min: 0.09 replies/s, 10 % failed, TTFT p95 0.20 s"
    assert "failed" not in rolling_text(live.now(9000.0))
