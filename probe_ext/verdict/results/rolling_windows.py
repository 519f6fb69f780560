"""Throughput, TTFT, latency and failures over a rolling window, and what an outage does to them.

Each figure at a moment t is that of the requests that ended in (t − W, t], W being the window's length. So a failed
request counts for W seconds after it ended, whatever the server did since: an outage of D seconds shows as a failed
share of up to D ÷ W where requests arrive evenly, and as less where users wait for replies, since they ask less often
while nothing is answered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import CLIENT_SIDE, Outcome
from probe_ext.verdict.evidence.columns import Bools, Floats, Ints, is_any, numbers
from probe_ext.verdict.evidence.evidence import Columns, percentiles
from probe_ext.verdict.values.rolling_types import Rolling, RollingFigures, WindowedOutage

WINDOW_S = 900.0
"""unless another is asked for"""
MAX_RUN_S = 30 * 86400.0
"""A later end is damaged data."""
MIN_WINDOWS = 2
"""A run that is shorter than so many windows is not shown through them."""
_STEPS_PER_WINDOW, _MAX_MOMENTS = 30, 480
_MIN_FAILED = 3
_MIN_SHARE = 0.01
"""Fewer failures in a row, or a shorter part of the window, are no outage."""


@dataclass(frozen=True)
class _Ended:
    """The requests that tell of the server, in order of their ends."""

    end: Floats
    complete: Bools
    unsent: Bools
    ttft: Floats
    answer: Floats


def rolling_windows(replies: Columns, seconds: float) -> Rolling | None:
    """Return the run in windows of `seconds`; None if it lasted less than MIN_WINDOWS of them."""
    ended = _ended(replies)
    run_seconds = float(ended.end[-1]) if len(ended.end) else 0.0
    if not MIN_WINDOWS * seconds <= run_seconds <= MAX_RUN_S:
        return None
    step = max(seconds / _STEPS_PER_WINDOW, (run_seconds - seconds) / _MAX_MOMENTS)
    times = seconds + step * np.arange(int((run_seconds - seconds) / step + 1e-9) + 1)
    moments = tuple(_figures(ended, t, seconds) for t in times.tolist())
    outages = tuple(_outage(ended, stretch, moments, seconds) for stretch in _stretches(ended))
    return Rolling(seconds, step, moments, tuple(one for one in outages if one.even_share >= _MIN_SHARE))


def _ended(replies: Columns) -> _Ended:
    end, due, sent, first = (numbers(replies, name) for name in ("end", "due", "sent", "first"))
    counted = ~is_any(replies, "outcome", CLIENT_SIDE) & ~np.isnan(end)
    rows = np.flatnonzero(counted)
    rows = rows[np.argsort(end[rows], kind="stable")]
    complete = is_any(replies, "outcome", {Outcome.COMPLETE})[rows]
    answer = np.where(complete, (end - due)[rows], np.nan)
    unsent = is_any(replies, "outcome", {Outcome.NOT_SENT})[rows]
    return _Ended(end[rows], complete, unsent, (first - sent)[rows], answer)


def _figures(ended: _Ended, t: float, seconds: float) -> RollingFigures:
    inside = slice(*np.searchsorted(ended.end, (t - seconds, t), side="right").tolist())
    complete, requests = int(ended.complete[inside].sum()), len(ended.end[inside])
    (ttft_p50, ttft_p95), (answer_p50, answer_p95) = (
        percentiles(values[inside], ("p50", "p95")) for values in (ended.ttft, ended.answer)
    )
    return RollingFigures(
        t=t,
        requests=requests,
        complete_per_s=complete / seconds,
        failed_share=(requests - complete) / requests if requests else None,
        unsent=int(ended.unsent[inside].sum()),
        ttft_p50=ttft_p50,
        ttft_p95=ttft_p95,
        answer_p50=answer_p50,
        answer_p95=answer_p95,
    )


def _stretches(ended: _Ended) -> Iterator[Ints]:
    """Yield the rows of each stretch of requests that all failed."""
    failed = np.flatnonzero(~ended.complete)
    if failed.size:
        runs = np.split(failed, np.flatnonzero(np.diff(failed) > 1) + 1)
        yield from (rows for rows in runs if len(rows) >= _MIN_FAILED)


def _outage(ended: _Ended, rows: Ints, moments: tuple[RollingFigures, ...], seconds: float) -> WindowedOutage:
    first, last = int(rows[0]), int(rows[-1])
    since = float(ended.end[first - 1] if first else ended.end[first])
    until = float(ended.end[last + 1]) if last + 1 < len(ended.end) else None
    clean_at = float(ended.end[last]) + seconds if until is not None else None
    shares = [
        one.failed_share
        for one in moments
        if one.failed_share is not None and since < one.t and (clean_at is None or one.t <= clean_at)
    ]
    down = (until if until is not None else float(ended.end[last])) - since
    return WindowedOutage(since, until, len(rows), min(1.0, down / seconds), max(shares, default=None), clean_at)
