"""The study of comparisons as a page of markdown."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from probe_ext.verdict.inference.quantiles import score_limits

Row = Mapping[str, Any]
CLAIMED = 0.025
HEAD = """# How far a comparison can be trusted

Made by `make study-compare`; don't edit. Pairs of runs on virtual time whose difference is known, compared by the code
of `probe compare`. *Steep*, *medium* and *clustered* are stated servers: their served share falls through 90 % at 21.4
users, more or less gently, and in *clustered* replies of 5 s share one fate; the second server of a pair is as good at
so many more users. They say nothing but whether a reply is served, so there the other figures are served shares alone.
The other pairs are whole runs with every figure. Each level is measured for 30 s at first; a pair that can't be told is
measured once more, anew, for the time announced; where none is announced, it counts as not told. Where the servers
differ in one promise only, a quarter of the second's replies fall silent for 3 s, and levels are measured for 120 s. In
the rows of restarts, two servers are equal but for their restarts: one run of each can't know that spread, which every
such comparison says; three of each do. *In turns*: four runs A, B, B, A of servers that lose 10 % from the first run to
the last.

*Wrong*: pairs in which more people, or fewer, were proven wrongly; in brackets the Wilson limits, each with an error of
2.5 %. Claimed are at most 2.5 % each way. *Other figures wrong*: pairs with any other figure called better or worse
that is equal in truth, or is the reverse; claimed are 5 %. **Bold** marks what lies above the claim beyond chance.
*Promises told*: of the promises that differ in truth, all were called rightly at some level at first. The time that
tells 10 % is the median of what the comparisons announce; a dash means that levels lie too far apart in most pairs.

A capacity is never known better than the gap between two levels, here 2 users of 21, so differences of 5 and 10 % take
long or can't be told at these levels. Aimed at are 80 % told at 25 %, and 99 % at 100 %, within the time announced. An
announced time goes by the difference that was seen, which chance makes larger than the true one where that is small:
most pairs of 5 % can't be told after it either.

"""
COLUMNS = (
    "pair", "pairs", "wrongly better", "wrongly worse", "told at once", "told within the time announced",
    "minutes at first", "minutes, median (p90)", "minutes to tell 10 %", "promises told",
    "other figures wrong", "no winner named",
)  # fmt: skip


def figures(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the page says of one kind of pair."""
    told = [row for row in rows if row["outcome"] in {"better", "worse"}]
    later = [row for row in rows if row.get("then") in {"better", "worse"}]
    minutes = [row["minutes"] for row in told] + [row["then_minutes"] for row in later]
    ten = sorted(np.inf if row["ten_percent"] is None else row["ten_percent"] for row in rows)
    return {
        "name": name,
        "pairs": len(rows),
        "wrongly_better": sum("better" in (row["wrong"], _wrong_later(row, "better")) for row in rows),
        "wrongly_worse": sum("worse" in (row["wrong"], _wrong_later(row, "worse")) for row in rows),
        "told_at_once": len(told),
        "told_in_time": len(told) + len(later),
        "announced": sum("then" in row for row in rows),
        "minutes_first": median(row["minutes"] for row in rows) if rows else None,
        "minutes_median": median(minutes) if minutes else None,
        "minutes_p90": float(np.quantile(minutes, 0.9)) if minutes else None,
        "ten_percent": median(ten) if ten and np.isfinite(median(ten)) else None,
        "promises_told": None
        if any(row.get("differing_told") is None for row in rows)
        else sum(row["differing_told"] for row in rows),
        "others_wrong": sum(bool(row["others_wrong"]) for row in rows),
        "refused": sum(row["refused"] for row in rows),
    }


def _wrong_later(row: Row, outcome: str) -> str:
    """A pair is measured again only if the second serves more people."""
    return outcome if outcome == "worse" and row.get("then") == "worse" else ""


def page(study: Sequence[Row]) -> str:
    """Return the whole page."""
    lines = [HEAD, _line(*COLUMNS), _line("---", *(["---:"] * (len(COLUMNS) - 1)))]
    lines += [_row(row) for row in study]
    return "".join(lines)


def _row(row: Row) -> str:
    pairs = row["pairs"]
    times = "–" if row["minutes_median"] is None else f"{row['minutes_median']:.0f} ({row['minutes_p90']:.0f})"
    return _line(
        row["name"],
        str(pairs),
        _share(row["wrongly_better"], pairs),
        _share(row["wrongly_worse"], pairs),
        f"{100 * row['told_at_once'] / pairs:.0f} %",
        f"{100 * row['told_in_time'] / pairs:.0f} %",
        f"{row['minutes_first']:.0f}",
        times,
        "–" if row["ten_percent"] is None else f"{row['ten_percent']:.0f}",
        "–" if row["promises_told"] is None else f"{100 * row['promises_told'] / pairs:.0f} %",
        _share(row["others_wrong"], pairs, allowed=2 * CLAIMED),
        f"{100 * row['refused'] / pairs:.0f} %",
    )


def _share(hits: int, of: int, allowed: float = CLAIMED) -> str:
    low, high = score_limits(np.array([float(hits)]), np.array([float(of)]), 1.96)
    text = f"{100 * hits / of:.1f} % ({100 * low[0]:.1f}–{100 * high[0]:.1f})"
    return f"**{text}**" if low[0] > allowed else text


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"
