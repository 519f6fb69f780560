"""Silent pauses beside what the server did meanwhile: how many overlap, how many would by chance, and the longest."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from probe_ext.report.charts import downsample, lane_chart, svg
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.server.find_pauses import find_pauses, longest, threshold
from probe_ext.verdict.server.pause_list import Pause, columns, listed
from probe_ext.verdict.server.server_series import read_metrics
from probe_ext.verdict.values import formats
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.plurals import things

MOST = 20
"""of the longest that stand on the page; `pauses.csv` has all"""
HEADS = (
    *(("pause", "from"), ("pause", "lasted"), ("users", "users"), ("", "user"), ("overlap", "preempted")),
    *(("overlap", "queue grew"), ("kv", "KV cache"), ("waiting", "waiting")),
)
COLUMNS = tuple(field.name for field in fields(Pause))
"""of `pauses.csv`"""
_ASKED = (
    ("meets_preemption", "overlap a rise of the server's preemption counter"),
    ("ends_with_preemption", "end in such a rise (vLLM counts a preemption when it resumes the reply)"),
    ("starts_as_queue_grows", "start as the server's queue grows (where a preempted reply waits)"),
)


@dataclass(frozen=True)
class Compared:
    """One kind of overlap."""

    what: str
    seen: str
    chance: str
    says: str


@dataclass(frozen=True)
class Silence:
    """The section of the page."""

    says: str
    facts: Sequence[str]
    compared: Sequence[Compared]
    heads: Sequence[tuple[str, str]]
    """term, where there is one, and heading"""
    rows: Sequence[Sequence[str]]
    of: str
    """how many of how many stand in the rows"""


def silence(capacity: Mapping[str, Any], evidence: Evidence, profile: SloProfile) -> Silence | None:
    """What is said of the pauses; None where there was none."""
    found = capacity["pauses"]
    if not found["count"]:
        return None
    least = threshold(profile)
    spans = find_pauses(evidence, least)
    which = longest(spans, MOST)
    rows = [_row(pause) for pause in listed(evidence, read_metrics(evidence.server), spans, which)]
    shown = f"the {formats.count(len(rows))} longest of {formats.count(found['count'])}"
    return Silence(
        says=found["says"],
        facts=_facts(found),
        compared=[_compared(what, found[key]) for key, what in _ASKED if found[key] is not None],
        heads=HEADS,
        rows=rows,
        of=shown if len(rows) < found["count"] else "all of them",
    )


def _facts(found: Mapping[str, Any]) -> list[str]:
    said = [
        f"in {things(found['replies'], 'reply').replace('replys', 'replies')}",
        f"{formats.span(found['seconds'])} in all",
        f"the longest {formats.seconds(found['longest'])}",
    ]
    if found["clients_cut"]:
        said.append(f"{formats.count(found['clients_cut'])} of 30 s or more: an ordinary client would have hung up")
    if found["kv_usage_p50"] is not None:
        said.append(f"KV cache at {formats.percent(found['kv_usage_p50'])} meanwhile (p50 of the pauses' peaks)")
    if found["waiting_p50"] is not None:
        said.append(f"{formats.count(found['waiting_p50'])} requests waiting (the same)")
    return said


def _compared(what: str, found: Mapping[str, Any]) -> Compared:
    low, high = formats.count(found["chance_low"]), formats.count(found["chance_high"])
    beyond = found["seen"] > found["chance_high"]
    says = "more than chance explains" if beyond else "no more than chance"
    return Compared(what, formats.count(found["seen"]), f"{formats.count(found['chance'])} ({low} to {high})", says)


def _row(pause: Pause) -> list[str]:
    lasted = formats.seconds(pause.end - pause.start) + ("" if pause.resumed else ", never resumed")
    told = "" if pause.meets_preemption is None else "overlaps" if pause.meets_preemption else "no"
    if pause.ends_with_preemption:
        told = "ends with one"
    grew = {None: "", True: "at its start", False: "no"}[pause.starts_as_queue_grows]
    users = formats.count(pause.users)
    figures = (formats.percent(pause.kv_usage), formats.count(pause.waiting))
    return [
        formats.moment(pause.start),
        lasted,
        users,
        pause.user[-10:],
        told or formats.DASH,
        grew or formats.DASH,
        *figures,
    ]


def csv_text(evidence: Evidence, profile: SloProfile) -> str:
    """`pauses.csv`: every pause, in order of time."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    spans = find_pauses(evidence, threshold(profile))
    found = columns(evidence, read_metrics(evidence.server), spans)
    writer.writerows(zip(*map(_written, found.values()), strict=True))
    return text.getvalue()


def _written(values: list[Any]) -> list[Any]:
    """A column as the writer is to write it: yes and no are 1 and 0, other figures are told to a millionth."""
    return [int(v) if isinstance(v, bool) else round(v, 6) if isinstance(v, float) else v for v in values]


def silent_lane(evidence: Evidence, axis: lane_chart.Axis, profile: SloProfile) -> lane_chart.Lane:
    """How many replies were silent at the same time."""
    least = threshold(profile)
    spans = find_pauses(evidence, least)
    if not len(spans):
        return lane_chart.Lane(
            "silent", "silent at once", "", None, f"no reply fell silent for {formats.bound(least)} or more"
        )
    t = np.concatenate([spans.start, spans.end])
    step = np.concatenate([np.ones(len(spans)), -np.ones(len(spans))])
    order = np.lexsort((step, t))
    t, v = t[order], np.cumsum(step[order])
    last = np.append(np.diff(t) > 0, True)  # of several changes at a moment, the last
    t, v = np.concatenate([[0.0], t[last]]), np.concatenate([[0.0], v[last]])
    t, v = downsample.line(t, v)
    scale = svg.Linear(0, float(v.max()) * 1.12)
    labels = lane_chart.scale_labels(
        [(scale.top(tick), formats.count(tick)) for tick in scale.ticks(2) if tick == round(tick)]
    )
    says = f"Up to {formats.count(float(v.max()))} at once, {formats.count(len(spans))} pauses in all."
    edge = svg.steps(axis.points(t, v, scale), axis.x(float(t[-1])))
    shapes = [svg.Shape(f"{edge}V{svg.HEIGHT}H0Z", "area waiting"), svg.Shape(edge, "ln thin pauses")]
    plot = svg.Plot("Replies that were silent at the same time", says, 52, shapes, labels)
    name = f"{formats.bound(least)} or more"
    return lane_chart.Lane(
        "silent", "silent at once", name, plot, series=[lane_chart.series("silent", "", t, v, holds=True)]
    )
