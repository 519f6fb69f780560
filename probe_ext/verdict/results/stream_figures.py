"""How an open stream fared: what was scheduled, and in each level what was sent, had to wait, or was not sent."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.rate import Rate
from probe_ext.verdict.evidence.columns import Floats, Ints, numbers, texts
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.evidence.manifest_view import mapping, mappings, number
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.values.level_result import StreamFigures
from probe_ext.workload.arrival_times import ArrivalForm, segment_seed

DELAYED_S = 0.010
"""An arrival that waited as long for a free connection was delayed: less is what handing it over takes."""

EDGE_S = 0.02
"""Arrivals so near to a segment's end may be counted on either side of it: clocks are compared to milliseconds."""
MAX_ARRIVALS = 5_000_000
"""More are not counted again: a damaged manifest must not keep the report busy."""


def stream_figures(replies: Columns, rows: Ints, level: Level) -> StreamFigures:
    """Return the figures of one level; `rows`: the replies that were due in it."""
    if not isinstance(level.users, Rate):
        return StreamFigures()
    sent, due, late = (numbers(replies, name) for name in ("sent", "due", "late"))
    within = int(((sent >= level.t_start) & (sent <= level.t_end)).sum())
    unsent = np.array([outcome == Outcome.NOT_SENT for outcome in texts(replies, "outcome")], dtype=np.bool_)[rows]
    waited = (sent - due - np.nan_to_num(late))[rows]
    return StreamFigures(
        rate=level.users.per_second,
        sent_rate=within / level.seconds if level.seconds > 0 else None,
        delayed=int(((waited >= DELAYED_S) | unsent).sum()),
        unsent=int(unsent.sum()),
    )


def scheduled_arrivals(manifest: Mapping[str, Any]) -> Floats | None:
    """Return when the schedule of a run asked for requests, seconds of the run; None where that is not known.

    It is computed once more from the run's seed: nothing that the workers counted is taken on trust.
    """
    plan = mapping(manifest.get("arrivals"))
    seed, segments = plan.get("seed"), mappings(plan.get("segments"))
    starts = [number(segment, "from") for segment in segments]
    known = [start for start in [*starts, number(plan, "ended")] if start is not None]
    try:
        form = ArrivalForm.from_json(plan)
    except ValueError:
        return None
    if not isinstance(seed, int) or not segments or len(known) <= len(segments):
        return None
    times: list[float] = []
    for i, (segment, (start, end)) in enumerate(zip(segments, itertools.pairwise(known), strict=True)):
        rate = number(segment, "rate", 0.0)
        if len(times) + rate * (end - start) > MAX_ARRIVALS:
            return None
        if rate > 0:
            arrivals = form.times(rate, segment_seed(seed, i))
            times += [start + at for at in itertools.takewhile((end - start - EDGE_S).__gt__, arrivals)]
    return np.array(times)


def arrivals_missing(scheduled: Floats, replies: Columns, start: float, end: float) -> int:
    """Return how many of the arrivals scheduled between two moments have no row; never less than 0."""
    due = numbers(replies, "due")
    meant = int(((scheduled >= start) & (scheduled <= end)).sum())
    return max(0, meant - int(((due >= start - EDGE_S) & (due <= end + EDGE_S)).sum()))
