"""“Words arriving”: a line a user, with the silences of its replies seen as holes."""

from collections.abc import Sequence

import pandas as pd

from probe_ext.report.charts import lane_chart, svg
from probe_ext.verdict.values import formats
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.plurals import things

MOST_USERS = 24
"""lines shown: those of the users with the longest silences"""

Span = tuple[int, float, float]
"""line, start, end in seconds of the run"""


def words_arriving(evidence: Evidence, axis: lane_chart.Axis, pause: float) -> lane_chart.Lane:
    """A line a user: bars from first to last token, holes where a reply fell silent for at least `pause` seconds."""
    replies = pd.DataFrame({n: evidence.replies[n] for n in ("reply_id", "user", "first", "last", "longest_gap")})
    replies = replies.dropna(subset=["first", "last"])
    if replies.empty:
        return lane_chart.Lane("words", "words arriving", "", None, "no reply brought a token")
    by_user = replies.groupby("user", observed=True).agg(worst=("longest_gap", "max"), since=("first", "min"))
    by_user = by_user.sort_values(["worst", "since"], ascending=[False, True], kind="stable", na_position="last")
    shown = by_user.head(MOST_USERS).sort_values("since", kind="stable")
    row_of = {user: i for i, user in enumerate(shown.index)}
    mine = replies[replies["user"].isin(row_of)].sort_values("first", kind="stable")
    gaps = pd.DataFrame({n: evidence.gaps[n] for n in ("reply_id", "start", "end")})
    gaps = gaps[gaps["end"] - gaps["start"] >= pause].merge(mine[["reply_id", "user"]], on="reply_id")
    holes = [(row_of[u], s, e) for u, s, e in zip(gaps["user"], gaps["start"], gaps["end"], strict=True)]
    spans = [(row_of[u], f, e) for u, f, e in zip(mine["user"], mine["first"], mine["last"], strict=True)]
    pitch = svg.HEIGHT / len(row_of)
    shapes = [
        svg.Shape("".join(_bar(axis, row, a, b, pitch, 0.14) for row, a, b in _joined(spans, axis.end / 1500)), "bar"),
        svg.Shape("".join(_bar(axis, row, a, b, pitch, 0.08) for row, a, b in _worst(holes)), "hole"),
    ]
    says = f"{things(len(holes), 'silent pause')} of {formats.bound(pause)} or more among the users shown."
    note = lane_chart.thinned(len(row_of), len(by_user), "users, with the longest silences,")
    height = max(34, 9 * len(row_of))
    plot = svg.Plot("Replies of each user, with their silent pauses", says, height, shapes)
    return lane_chart.Lane("words", "words arriving", things(len(holes), "pause"), plot, note=note)


def _joined(spans: Sequence[tuple[int, float, float]], apart: float) -> list[tuple[int, float, float]]:
    """Spans of one row that lie closer than can be seen are one."""
    done: dict[int, list[tuple[int, float, float]]] = {}
    for row, start, end in spans:
        of_row = done.setdefault(row, [])
        if of_row and start - of_row[-1][2] < apart:
            of_row[-1] = (row, of_row[-1][1], max(end, of_row[-1][2]))
        else:
            of_row.append((row, start, end))
    return [span for of_row in done.values() for span in of_row]


def _worst(holes: Sequence[tuple[int, float, float]], most: int = 1500) -> list[tuple[int, float, float]]:
    return sorted(sorted(holes, key=lambda hole: hole[1] - hole[2])[:most])


def _bar(axis: lane_chart.Axis, row: int, start: float, end: float, pitch: float, inset: float) -> str:
    width = max(axis.x(end) - axis.x(start), 1.0)
    return svg.box(axis.x(start), (row + inset) * pitch, width, pitch * (1 - 2 * inset))
