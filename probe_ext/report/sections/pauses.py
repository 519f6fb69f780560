"""Silent pauses: how many coincide with server events, how many would by chance, and the longest ones."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from probe_ext.report.charts import downsample, lane_chart, svg
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.server.find_pauses import find_pauses, longest, threshold
from probe_ext.verdict.server.pause_list import Pause, columns, listed
from probe_ext.verdict.server.pause_summary import RESULTS, by_chance
from probe_ext.verdict.server.server_series import read_metrics
from probe_ext.verdict.values.pause_types import Overlap

MAX_ROWS = 20
"""The longest pauses are on the page; `pauses.csv` has all."""
HEADS = (
    *(("pause", "from"), ("pause", "lasted"), ("users", "users"), ("", "user"), ("overlap", "preempted")),
    *(("overlap", "queue grew"), ("kv", "KV cache"), ("waiting", "waiting")),
)
CSV_COLUMNS = tuple(field.name for field in fields(Pause))
_OVERLAPS = {
    "meets_preemption": "overlap a rise of the server's preemption counter",
    "starts_as_queue_grows": "start as the server's queue grows (in which a preempted request waits)",
}


@dataclass(frozen=True)
class Comparison:
    """One kind of overlap; chance and result are empty where it is not compared."""

    what: str
    seen: str
    chance: str
    result: str


@dataclass(frozen=True)
class Silence:
    """The section of the page."""

    sentence: str
    facts: Sequence[str]
    compared: Sequence[Comparison]
    heads: Sequence[tuple[str, str]]
    """term, if there is one, and heading"""
    rows: Sequence[Sequence[str]]
    shown: str
    """how many of the pauses are in the rows"""


def silence(capacity: Mapping[str, Any], evidence: Evidence, profile: SloProfile) -> Silence | None:
    """Build the section; None where no reply paused."""
    summary = capacity["pauses"]
    if not summary["count"]:
        return None
    spans = find_pauses(evidence, threshold(profile))
    which = longest(spans, MAX_ROWS)
    rows = [_row(pause) for pause in listed(evidence, read_metrics(evidence.server), spans, which)]
    shown = f"the {formats.count(len(rows))} longest of {formats.count(summary['count'])}"
    return Silence(
        sentence=summary["sentence"],
        facts=_facts(summary),
        compared=_comparisons(summary),
        heads=HEADS,
        rows=rows,
        shown=shown if len(rows) < summary["count"] else "all",
    )


def _facts(summary: Mapping[str, Any]) -> list[str]:
    facts = [
        f"in {things(summary['replies'], 'reply', 'replies')}",
        f"{formats.span(summary['seconds'])} in total",
        f"longest {formats.seconds(summary['longest'])}",
    ]
    if summary["clients_cut"]:
        facts.append(f"{formats.count(summary['clients_cut'])} of 30 s or more: ordinary clients would have timed out")
    if summary["kv_usage_p50"] is not None:
        facts.append(f"KV cache {formats.percent(summary['kv_usage_p50'])} full meanwhile (median of the peaks)")
    if summary["waiting_p50"] is not None:
        waiting = things(round(summary["waiting_p50"]), "request")
        facts.append(f"{waiting} waiting meanwhile (median of the peaks)")
    return facts


def _comparisons(summary: Mapping[str, Any]) -> list[Comparison]:
    """Return the kinds of overlap that are known; only the ends of pauses are compared with chance."""
    ends = summary["ends_with_preemption"]
    rows = [
        Comparison(what, formats.count(summary[key]), "", "")
        for key, what in _OVERLAPS.items()
        if summary[key] is not None
    ]
    if ends is not None:
        compared = Overlap(**ends)
        what = "end in such a rise (vLLM counts a preemption when it resumes the request)"
        seen = f"{formats.count(compared.seen)} of {formats.count(compared.of)}"
        rows.insert(1, Comparison(what, seen, by_chance(compared), RESULTS[compared.result]))
    return rows


def _row(pause: Pause) -> list[str]:
    lasted = formats.seconds(pause.end - pause.start) + ("" if pause.resumed else ", never resumed")
    preempted = {None: formats.DASH, True: "overlaps", False: "no"}[pause.meets_preemption]
    if pause.ends_with_preemption:
        preempted = "ends with one"
    queue_grew = {None: formats.DASH, True: "at its start", False: "no"}[pause.starts_as_queue_grows]
    users = formats.count(pause.users)
    figures = (formats.percent(pause.kv_usage), formats.count(pause.waiting))
    return [
        formats.moment(pause.start),
        lasted,
        users,
        pause.user[-10:],
        preempted,
        queue_grew,
        *figures,
    ]


def csv_text(evidence: Evidence, profile: SloProfile) -> str:
    """Return `pauses.csv`: all pauses, in order of time."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    spans = find_pauses(evidence, threshold(profile))
    values = columns(evidence, read_metrics(evidence.server), spans)
    writer.writerows(zip(*map(_csv_values, values.values()), strict=True))
    return text.getvalue()


def _csv_values(values: list[Any]) -> list[Any]:
    """Write booleans as 1 and 0, and floats with six decimals."""
    kinds = set(map(type, values))
    if kinds == {float}:
        return [round(v, 6) for v in values]
    if not kinds & {bool, float}:
        return values
    return [int(v) if isinstance(v, bool) else round(v, 6) if isinstance(v, float) else v for v in values]


def silent_lane(evidence: Evidence, axis: lane_chart.Axis, profile: SloProfile) -> lane_chart.Lane:
    """Return the lane of the number of replies that were silent at the same time."""
    min_seconds = threshold(profile)
    spans = find_pauses(evidence, min_seconds)
    if not len(spans):
        return lane_chart.Lane(
            "silent", "silent at once", "", None, f"no reply paused for {formats.bound(min_seconds)} or more"
        )
    t = np.concatenate([spans.start, spans.end])
    step = np.concatenate([np.ones(len(spans)), -np.ones(len(spans))])
    order = np.lexsort((step, t))
    t, v = t[order], np.cumsum(step[order])
    last = np.append(np.diff(t) > 0, True)  # of several changes at one moment, keep the last
    t, v = np.concatenate([[0.0], t[last]]), np.concatenate([[0.0], v[last]])
    t, v = downsample.line(t, v)
    scale = svg.Linear(0, float(v.max()) * 1.12)
    labels = lane_chart.scale_labels(
        [(scale.top(tick), formats.count(tick)) for tick in scale.ticks(2) if tick == round(tick)]
    )
    description = f"Up to {formats.count(float(v.max()))} at once, {things(len(spans), 'pause')} in total."
    edge = svg.steps(axis.points(t, v, scale), axis.x(float(t[-1])))
    shapes = [svg.Shape(f"{edge}V{svg.HEIGHT}H0Z", "area waiting"), svg.Shape(edge, "ln thin pauses")]
    plot = svg.Plot("Replies that were silent at the same time", description, 52, shapes, labels)
    name = f"{formats.bound(min_seconds)} or more"
    return lane_chart.Lane(
        "silent", "silent at once", name, plot, series=[lane_chart.series("silent", "", t, v, holds=True)]
    )
