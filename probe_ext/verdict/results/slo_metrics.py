"""What a level's replies looked like from the outside: latencies, speeds, throughput."""

from collections.abc import Sequence

import numpy as np

from probe_ext.verdict.grading.reply_grades import SERVED, Judged
from probe_ext.verdict.grading.user_grades import EPSILON
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.values.columns import Floats, Ints, numbers
from probe_ext.verdict.values.evidence import Columns, Window, quantile
from probe_ext.verdict.values.level_result import LevelResult, ReplyFigures
from probe_ext.verdict.values.sizing_types import Goodput

FLUID = 0.9
"""fluidity index that a reply must reach (Etalon asks it of 99 % of all requests)"""
GOAL = 0.9
"""SLO attainment at which goodput is told (DistServe's own example)"""


def reply_figures(
    replies: Columns, rows: Ints, level: Level, judged: Judged, tokens: Floats | None, *, killed: bool = False
) -> ReplyFigures:
    """The figures of the replies in `rows`; `tokens` are the (start, seconds, count) rows of all token windows."""
    fluidity, fluid = _fluidity(*(numbers(replies, name)[rows] for name in ("deadlines", "deadlines_missed")))
    sent = numbers(replies, "sent")[rows]
    ttft = numbers(replies, "first")[rows] - sent
    waited, rate, gap = (values[rows] for values in (judged.felt.waited, judged.felt.rate, judged.felt.gap))
    grades = judged.overall[rows]
    served, heard = int((grades == SERVED).sum()), int((grades >= 0).sum())
    return ReplyFigures(
        ttft_p50=quantile(ttft, 0.50),
        ttft_p95=quantile(ttft, 0.95),
        ttft_p99=quantile(ttft, 0.99),
        ttft_visible_p95=quantile(numbers(replies, "first_visible")[rows] - sent, 0.95),
        first_word_p50=quantile(waited, 0.50),
        first_word_p95=quantile(waited, 0.95),
        decode_rate_p50=quantile(rate, 0.50),
        decode_rate_p05=quantile(rate, 0.05),
        longest_gap_p95=quantile(gap, 0.95),
        longest_gap_max=quantile(gap, 1.0),
        tokens_out_p50=quantile(numbers(replies, "tokens_out")[rows], 0.50),
        total_tokens_per_s=tokens_within(tokens, level, killed=killed),
        slo_attainment=served / heard if heard else None,
        goodput_rps=served / level.seconds if level.seconds > 0 and len(rows) else None,
        fluidity_index=fluidity,
        fluid_share=fluid,
    )


def _fluidity(deadlines: Floats, missed: Floats) -> tuple[float | None, float | None]:
    """The index over all replies together, and how many of them reach FLUID by themselves; None without deadlines."""
    had = deadlines > 0
    if not had.any():
        return None, None
    part = missed[had] / deadlines[had]
    return 1 - float(missed[had].sum() / deadlines[had].sum()), float((1 - part >= FLUID - EPSILON).mean())


def goodput(levels: Sequence[LevelResult], goal: float = GOAL) -> Goodput | None:
    """The highest rate of judged replies over the levels that attain as much; bands show none."""
    attained = [
        (level.figures.goodput_rps / level.figures.slo_attainment, level.users)
        for level in levels
        if not level.band
        and level.figures.goodput_rps
        and (level.figures.slo_attainment or 0) >= goal - EPSILON
        and level.figures.slo_attainment
    ]
    if not attained:
        return None
    rate, users = max(attained)
    return Goodput(goal, users, rate)


def token_windows(windows: Sequence[Window]) -> Floats | None:
    """The counts of tokens as rows of start, seconds, count; None where nobody counted."""
    found = [(w.start, w.seconds, w.count) for w in windows if w.metric == "tokens" and w.count is not None]
    return np.array(found, dtype=np.float64) if found else None


def tokens_within(tokens: Floats | None, level: Level, *, killed: bool = False) -> float | None:
    """Tokens a second in the measured part; a window on its edge counts in proportion.

    A killed run lacks its last windows: only the part that the windows cover is divided by, and None without any.
    """
    if tokens is None:
        return None
    start, seconds, count = tokens.T
    end = min(level.t_end, float((start + seconds).max())) if killed else level.t_end
    if end <= level.t_start:
        return None
    overlap = np.minimum(start + seconds, end) - np.maximum(start, level.t_start)
    return float((count * np.clip(overlap / seconds, 0, 1)).sum() / (end - level.t_start))
