"""Token stream of each user, with silent pauses as holes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from probe_ext.report.charts import lane_chart, svg
from probe_ext.verdict.evidence.columns import ids, numbers, rows_of, text_codes
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things

MAX_USERS = 24
"""The users with the longest silences are shown."""

Span = tuple[int, float, float]
"""Row, and start and end in seconds of the run."""


def token_stream(evidence: Evidence, axis: lane_chart.Axis, pause: float) -> lane_chart.Lane:
    """Return one line per user: bars from first to last token, with holes for silences of at least `pause` seconds."""
    first, last = (numbers(evidence.replies, name) for name in ("first", "last"))
    known = np.flatnonzero(~np.isnan(first) & ~np.isnan(last))
    if not known.size:
        return lane_chart.Lane("words", "token stream", "", None, "no reply had a token")
    user = text_codes(evidence.replies, "user")[0][known]
    # One column after another: a table of all replies would take a gigabyte of a long run.
    worst = pd.Series(numbers(evidence.replies, "longest_gap")[known]).groupby(user).max()
    by_user = pd.DataFrame({"worst": worst, "since": pd.Series(first[known]).groupby(user).min()})
    by_user = by_user.sort_values(["worst", "since"], ascending=[False, True], kind="stable", na_position="last")
    shown = by_user.head(MAX_USERS).sort_values("since", kind="stable")
    row_of = {user: i for i, user in enumerate(shown.index)}
    is_shown = np.isin(user, shown.index)
    rows = known[is_shown]
    of_shown = {"user": user[is_shown], "first": first[rows], "last": last[rows]}
    drawn = pd.DataFrame(of_shown, index=rows).sort_values("first", kind="stable")
    gaps = pd.DataFrame({n: numbers(evidence.gaps, n) for n in ("start", "end")})
    gaps["reply"] = rows_of(ids(evidence.gaps, "reply_id"), ids(evidence.replies, "reply_id"))
    gaps = gaps[gaps["end"] - gaps["start"] >= pause].merge(drawn[["user"]], left_on="reply", right_index=True)
    holes = [(row_of[u], s, e) for u, s, e in zip(gaps["user"], gaps["start"], gaps["end"], strict=True)]
    spans = [(row_of[u], f, e) for u, f, e in zip(drawn["user"], drawn["first"], drawn["last"], strict=True)]
    pitch = svg.HEIGHT / len(row_of)
    shapes = [
        svg.Shape("".join(_bar(axis, row, a, b, pitch, 0.14) for row, a, b in _joined(spans, axis.end / 1500)), "bar"),
        svg.Shape("".join(_bar(axis, row, a, b, pitch, 0.08) for row, a, b in _worst(holes)), "hole"),
    ]
    description = f"{things(len(holes), 'silent pause')} of {formats.bound(pause)} or more among the users shown."
    note = lane_chart.thinned(len(row_of), len(by_user), "users (longest silences)")
    height = max(34, 9 * len(row_of))
    plot = svg.Plot("Replies of each user, with their silent pauses", description, height, shapes)
    return lane_chart.Lane("words", "token stream", things(len(holes), "pause"), plot, note=note)


def _joined(spans: Sequence[Span], apart: float) -> list[Span]:
    """Join spans of one row that are too close to be seen apart."""
    done: dict[int, list[Span]] = {}
    for row, start, end in spans:
        of_row = done.setdefault(row, [])
        if of_row and start - of_row[-1][2] < apart:
            of_row[-1] = (row, of_row[-1][1], max(end, of_row[-1][2]))
        else:
            of_row.append((row, start, end))
    return [span for of_row in done.values() for span in of_row]


def _worst(holes: Sequence[Span], most: int = 1500) -> list[Span]:
    return sorted(sorted(holes, key=lambda hole: hole[1] - hole[2])[:most])


def _bar(axis: lane_chart.Axis, row: int, start: float, end: float, pitch: float, inset: float) -> str:
    width = max(axis.x(end) - axis.x(start), 1.0)
    return svg.box(axis.x(start), (row + inset) * pitch, width, pitch * (1 - 2 * inset))
