"""Latency, speed and throughput of a level's replies, as clients saw them."""

from collections.abc import Sequence

import numpy as np

from probe_ext.verdict.evidence.columns import Floats, Ints, numbers
from probe_ext.verdict.evidence.evidence import Columns, Window, percentile, quantile
from probe_ext.verdict.grading.reply_grades import SERVED, GradedReplies
from probe_ext.verdict.grading.server_times import possible_ttft
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.values.level_result import LevelResult, ReplyFigures
from probe_ext.verdict.values.sizing_types import Goodput

EPSILON = 1e-9
"""So that 9 of 10 are 90 %."""
MIN_FLUIDITY = 0.9
"""Fluidity index that a reply must reach (Etalon requires it of 99 % of requests)."""
GOODPUT_ATTAINMENT = 0.9
"""SLO attainment at which goodput is measured (DistServe's own example)."""
MIN_FINISHED = 10
"""Finished replies that a percentage needs: of fewer, a single one is more than the tenth that need not be served."""


def reply_figures(
    replies: Columns,
    rows: Ints,
    level: Level,
    graded: GradedReplies,
    tokens: Floats | None,
    last_seconds: float,
    *,
    killed: bool = False,
) -> ReplyFigures:
    """Return the figures of the replies in `rows`; `tokens` comes from `token_windows`.

    `last_seconds`: of the level, whose replies are not among them.
    """
    fluidity, fluid = _fluidity(*(numbers(replies, name)[rows] for name in ("deadlines", "deadlines_missed")))
    sent = numbers(replies, "sent")[rows]
    at_once = graded.arrived.at_once[rows]
    ttft = np.where(at_once, np.nan, numbers(replies, "first")[rows] - sent)
    at_server = possible_ttft(replies)[rows]
    seen = graded.experience
    waited, rate, gap = (values[rows] for values in (seen.waited, seen.rate, seen.gap))
    # An open reply has passed no bound before its level ended, so it counts as served, as in the served share.
    served, seconds = int((graded.overall[rows] <= SERVED).sum()), level.seconds - last_seconds
    return ReplyFigures(
        ttft_p50=quantile(ttft, 0.50),
        ttft_p95=percentile(ttft, "p95"),
        ttft_p99=percentile(ttft, "p99"),
        server_ttft_p50=quantile(at_server, 0.50),
        way_p50=quantile(ttft - at_server, 0.50),
        ttft_visible_p95=percentile(numbers(replies, "first_visible")[rows] - sent, "p95"),
        first_word_p50=quantile(waited, 0.50),
        first_word_p95=percentile(waited, "p95"),
        decode_rate_p50=quantile(rate, 0.50),
        decode_rate_p05=percentile(rate, "p05"),
        longest_gap_p95=percentile(gap, "p95"),
        longest_gap_max=quantile(gap, 1.0),
        tokens_out_p50=quantile(numbers(replies, "tokens_out")[rows], 0.50),
        total_tokens_per_s=tokens_within(tokens, level, _longest(replies, rows) if killed else None),
        slo_attainment=served / len(rows) if len(rows) else None,
        goodput_rps=served / seconds if seconds > 0 and len(rows) else None,
        fluidity_index=fluidity,
        fluid_share=fluid,
    )


def _longest(replies: Columns, rows: Ints) -> float:
    """Return the longest reply's duration in seconds; infinite without a reply."""
    seconds = numbers(replies, "end")[rows] - numbers(replies, "sent")[rows]
    known = seconds[np.isfinite(seconds)]
    return float(known.max()) if known.size else np.inf


def _fluidity(deadlines: Floats, missed: Floats) -> tuple[float | None, float | None]:
    """Return the index over all replies, and the share that reach MIN_FLUIDITY themselves; None without deadlines."""
    known = deadlines > 0
    if not known.any():
        return None, None
    missed_share = missed[known] / deadlines[known]
    return 1 - float(missed[known].sum() / deadlines[known].sum()), float(
        (1 - missed_share >= MIN_FLUIDITY - EPSILON).mean()
    )


def goodput(levels: Sequence[LevelResult], last_seconds: float, goal: float = GOODPUT_ATTAINMENT) -> Goodput | None:
    """Return the highest rate of served replies over the numbers of users that attain the goal, bands excluded.

    All visits to a number of users count together, as they do for its state. `last_seconds`: of each visit, whose
    replies are not judged. None if no number of users attains it with MIN_FINISHED replies.
    """
    visits: dict[int, list[LevelResult]] = {}
    for level in levels:
        if not level.band and level.slo_attainment is not None:
            visits.setdefault(level.users, []).append(level)
    rates = [(rate, users) for users, held in visits.items() if (rate := _goodput_of(held, last_seconds, goal))]
    if not rates:
        return None
    rate, users = max(rates)
    return Goodput(goal, users, rate)


def _goodput_of(visits: Sequence[LevelResult], last_seconds: float, goal: float) -> float:
    """Return the served replies per second of all these visits; 0 if fewer than the goal were served, or few ended."""
    if sum(visit.replies_judged - visit.replies_open for visit in visits) < MIN_FINISHED:
        return 0.0
    served = sum(visit.replies_served + visit.replies_open for visit in visits)
    seconds = sum(visit.t_end - visit.t_start - last_seconds for visit in visits)
    attained = served >= (goal - EPSILON) * sum(visit.replies_judged for visit in visits)
    return served / seconds if attained and seconds > 0 else 0.0


def token_windows(windows: Sequence[Window]) -> Floats | None:
    """Return token counts as an array of (start, seconds, count) rows; None where none were recorded."""
    rows = [(w.start, w.seconds, w.count) for w in windows if w.metric == "tokens" and w.count is not None]
    return np.array(rows, dtype=np.float64) if rows else None


def tokens_within(tokens: Floats | None, level: Level, lost: float | None = None) -> float | None:
    """Return tokens per second in the measured part; a window that straddles its edge counts in proportion.

    A killed run lacks its last windows, and in those before the tokens of the replies in flight: the longest may have
    been so for `lost` seconds. So only the part before that counts; None without any.
    """
    if tokens is None:
        return None
    start, seconds, count = tokens.T
    end = level.t_end if lost is None else min(level.t_end, float((start + seconds).max()) - lost)
    if end <= level.t_start:
        return None
    overlap = np.minimum(start + seconds, end) - np.maximum(start, level.t_start)
    return float((count * np.clip(overlap / seconds, 0, 1)).sum() / (end - level.t_start))
