"""Token stream of each user, with silent pauses as holes."""

from collections.abc import Sequence

import numpy as np

from probe_ext.report.charts import lane_chart, svg
from probe_ext.verdict.evidence.columns import (
    ROWS_AT_ONCE,
    Bools,
    Floats,
    Ints,
    ids,
    numbers,
    rows_of,
    select,
    size,
    text_column,
)
from probe_ext.verdict.evidence.evidence import Columns, Evidence
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things

MAX_USERS = 24
"""The users with the longest silences are shown."""

Span = tuple[int, float, float]
"""Row, and start and end in seconds of the run."""


def token_stream(evidence: Evidence, axis: lane_chart.Axis, pause: float) -> lane_chart.Lane:
    """Return one line per user: bars from first to last token, with holes for silences of at least `pause` seconds."""
    replies = evidence.replies
    worst, since = _of_users(replies)
    names = text_column(replies, "user").names
    known = np.array(sorted(np.flatnonzero(~np.isnan(since)).tolist(), key=names.__getitem__), dtype=np.int64)
    if not known.size:
        return lane_chart.Lane("words", "token stream", "", None, "no reply had a token")
    chosen = known[np.lexsort((since[known], -worst[known]))][:MAX_USERS]
    shown = chosen[np.argsort(since[chosen], kind="stable")]
    row_of = dict(zip(shown.tolist(), range(len(shown)), strict=True))
    spans = [(row_of[user], *span) for user in shown.tolist() for span in _bars_of(replies, user, axis.end / 1500)]
    gaps = {name: numbers(evidence.gaps, name) for name in ("start", "end")}
    long = np.flatnonzero(gaps["end"] - gaps["start"] >= pause)
    users = _users_of_gaps(evidence, long)
    holes = [
        (row_of[user], start, end)
        for user, start, end in zip(users, gaps["start"][long].tolist(), gaps["end"][long].tolist(), strict=True)
        if user in row_of
    ]
    pitch = svg.HEIGHT / len(row_of)
    shapes = [
        svg.Shape("".join(_bar(axis, row, a, b, pitch, 0.14) for row, a, b in spans), "bar"),
        svg.Shape("".join(_bar(axis, row, a, b, pitch, 0.08) for row, a, b in _worst(holes)), "hole"),
    ]
    description = f"{things(len(holes), 'silent pause')} of {formats.bound(pause)} or more among the users shown."
    note = lane_chart.thinned(len(row_of), len(known), "users who came in the whole run (longest silences)")
    height = max(34, 9 * len(row_of))
    plot = svg.Plot("Replies of each user, with their silent pauses", description, height, shapes)
    return lane_chart.Lane("words", "token stream", things(len(holes), "pause"), plot, note=note)


def _of_users(replies: Columns) -> tuple[Floats, Floats]:
    """Return the longest gap and the first token of each user, by code; NaN where there is none."""
    users = text_column(replies, "user")
    worst, since = np.full(len(users.names), np.nan), np.full(len(users.names), np.nan)
    for start in range(0, size(replies), ROWS_AT_ONCE):
        part = select(replies, slice(start, start + ROWS_AT_ONCE))
        first = np.where(_has_tokens(part), numbers(part, "first"), np.nan)
        codes = text_column(part, "user").codes
        np.fmin.at(since, codes, first)
        np.fmax.at(worst, codes, np.where(np.isnan(first), np.nan, numbers(part, "longest_gap")))
    return worst, since


def _has_tokens(replies: Columns) -> Bools:
    has: Bools = ~np.isnan(numbers(replies, "first")) & ~np.isnan(numbers(replies, "last"))
    return has


def _bars_of(replies: Columns, user: int, apart: float) -> list[tuple[float, float]]:
    """Return the times from first to last token of a user's replies, joined where too close to be seen apart."""
    rows = np.flatnonzero(text_column(replies, "user").codes == user)
    first, last = numbers(replies, "first")[rows], numbers(replies, "last")[rows]
    order = np.argsort(first, kind="stable")
    order = order[(~np.isnan(first) & ~np.isnan(last))[order]]
    first, last = first[order], last[order]
    is_new = np.concatenate(([True], first[1:] - np.maximum.accumulate(last)[:-1] >= apart))
    starts = np.flatnonzero(is_new)
    return list(zip(first[starts].tolist(), np.maximum.reduceat(last, starts).tolist(), strict=True))


def _users_of_gaps(evidence: Evidence, gaps: Ints) -> list[int]:
    """Return the user of each of these gaps, by code; −1 where its reply is not known."""
    if not gaps.size:
        return []
    replies = evidence.replies
    rows = rows_of(ids(evidence.gaps, "reply_id")[gaps], ids(replies, "reply_id"))
    known = (rows >= 0) & _has_tokens(select(replies, rows))
    users: list[int] = np.where(known, text_column(replies, "user").codes[rows], -1).tolist()
    return users


def _worst(holes: Sequence[Span], most: int = 1500) -> list[Span]:
    return sorted(sorted(holes, key=lambda hole: hole[1] - hole[2])[:most])


def _bar(axis: lane_chart.Axis, row: int, start: float, end: float, pitch: float, inset: float) -> str:
    width = max(axis.x(end) - axis.x(start), 1.0)
    return svg.box(axis.x(start), (row + inset) * pitch, width, pitch * (1 - 2 * inset))
