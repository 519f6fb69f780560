"""A long run through its rolling window: what a dashboard would have shown, and how long an outage stayed on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe_ext.report.charts import lane_chart, svg
from probe_ext.report.charts.lane_chart import Axis, Lane
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import some_of

MAX_ROWS = 13
_TERM = "rolling"


@dataclass(frozen=True)
class RollingSection:
    """The section."""

    title: str
    meaning: str
    sentences: Sequence[str]
    """one for each outage"""
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def rolling_section(capacity: Mapping[str, Any]) -> RollingSection | None:
    """Return the section; None for a run that is too short for it."""
    rolling = capacity["rolling"]
    if rolling is None:
        return None
    length, moments = formats.span(rolling["seconds"]), rolling["moments"]
    some = moments[:: max(1, -(-len(moments) // MAX_ROWS))]
    return RollingSection(
        f"Rolling window of {length}",
        f"Each row shows the requests that ended in the {length} before it, as a dashboard does.",
        [outage_sentence(outage, rolling["seconds"]) for outage in rolling["outages"]],
        ("time", "replies/s", "failed", "not sent", "TTFT p50", "TTFT p95", "answer p50", "answer p95"),
        [_row(one) for one in ([*some, moments[-1]] if some[-1] is not moments[-1] else some)],
    )


def outage_sentence(outage: Mapping[str, Any], window: float) -> str:
    """Say how long nothing was answered, what the window showed of it, and when it was clean again."""
    failed, since = some_of(outage["failed"], outage["failed"], "request"), formats.moment(outage["since"])
    if outage["until"] is None:
        return f"From {since} to the end, {failed} failed."
    worst = "" if outage["worst_share"] is None else f" A window showed up to {_share(outage['worst_share'])} failed"
    even = f"evenly arriving requests would have shown {_share(outage['even_share'])}"
    worst = f"{worst}; {even}." if worst else f" Over a whole window, {even}."
    lasted = formats.span(outage["until"] - outage["since"])
    clean = (
        f" The window was clean at {formats.moment(outage['clean_at'])}, {formats.span(window)} after the last failure."
    )
    return f"From {since} on, {failed} failed for {lasted}.{worst}{clean}"


def rolling_lanes(capacity: Mapping[str, Any], axis: Axis) -> list[Lane]:
    """Return failures and TTFT over the window as lanes of the timeline; none for a short run."""
    rolling = capacity["rolling"]
    if rolling is None:
        return []
    length = formats.span(rolling["seconds"])
    lanes = []
    for key, name, text in (
        ("failed_share", "failed", formats.percent),
        ("ttft_p95", "TTFT p95", formats.seconds),
    ):
        known = [(one["t"], one[key]) for one in rolling["moments"] if one[key] is not None]
        t, v = (np.array(values, dtype=np.float64) for values in (zip(*known, strict=True) if known else ((), ())))
        top = svg.round_up(max(v.tolist(), default=0.0) or 1.0)
        lanes.append(lane_chart.filled(axis, _TERM, name, f"over {length}", (t, v), top, text))
    return lanes


def _share(share: float) -> str:
    return formats.percent(share)


def _row(one: Mapping[str, Any]) -> list[str]:
    times = [one[key] for key in ("ttft_p50", "ttft_p95", "answer_p50", "answer_p95")]
    return [
        formats.moment(one["t"]),
        formats.rate(one["complete_per_s"]),
        formats.DASH if one["failed_share"] is None else _share(one["failed_share"]),
        formats.count(one["unsent"]),
        *(formats.DASH if value is None else formats.seconds(value) for value in times),
    ]
