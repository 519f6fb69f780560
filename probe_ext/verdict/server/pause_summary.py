"""Silent pauses summed up: how many go with what the server did, and how many would by chance.

That is overlap: counters belong to the server, not to a request, so it is evidence and no proof.
"""

from collections.abc import Sequence

import numpy as np

from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.find_pauses import Spans
from probe_ext.verdict.server.overlap import Brackets, overlap, rises, stretches
from probe_ext.verdict.server.pause_context import Moments
from probe_ext.verdict.server.server_series import Metrics, total_rise
from probe_ext.verdict.values.columns import Floats
from probe_ext.verdict.values.evidence import quantile
from probe_ext.verdict.values.formats import bound, count
from probe_ext.verdict.values.pause_types import Overlap, Pauses
from probe_ext.verdict.values.plurals import things

CLIENT_GIVES_UP = 30.0
"""seconds without a token: a usual read timeout of ordinary clients"""


def pauses(spans: Spans, seen: Moments, least: float, levels: Sequence[Level], metrics: Metrics) -> Pauses:
    """All pauses of a run, summed up."""
    lasted = spans.end - spans.start
    counted = total_rise(metrics, "preemptions")
    meets, ends, starts = (None, None, None) if counted is None else _against_chance(spans, seen, levels, metrics)
    watched = int(seen.watched.sum())
    return Pauses(
        threshold=least,
        count=len(spans),
        replies=len(np.unique(spans.reply)),
        seconds=float(lasted.sum()),
        longest=float(lasted.max()) if len(lasted) else None,
        clients_cut=int((lasted >= CLIENT_GIVES_UP).sum()),
        watched=watched,
        preemptions=None if counted is None else round(counted),
        meets_preemption=meets,
        ends_with_preemption=ends,
        starts_as_queue_grows=starts,
        kv_usage_p50=quantile(seen.kv_usage, 0.5),
        waiting_p50=quantile(seen.waiting, 0.5),
        says=_says(len(spans), least, counted, watched, (meets, ends)),
    )


def _against_chance(
    spans: Spans, seen: Moments, levels: Sequence[Level], metrics: Metrics
) -> tuple[Overlap | None, Overlap | None, Overlap | None]:
    """The three kinds of overlap of the pauses that were watched; None where there is nothing to compare."""
    watched = np.flatnonzero(seen.watched)
    went_on = watched[spans.resumed[watched]]
    counters, queues = (list(metrics.get(name, {}).values()) for name in ("preemptions", "waiting"))
    last = max(float(series.t[-1]) for series in counters)
    edges = stretches(levels, max(last, float(spans.end.max()) if len(spans) else 0.0))

    def compared(brackets: Brackets, start: Floats, end: Floats) -> Overlap | None:
        return overlap(brackets, start, end, edges) if len(start) else None

    counted = rises(counters)
    return (
        compared(counted, spans.start[watched], spans.end[watched]),
        compared(counted, spans.end[went_on], spans.end[went_on]),
        compared(rises(queues), spans.start[watched], spans.start[watched]) if queues else None,
    )


def _says(
    number: int, least: float, counted: float | None, watched: int, found: tuple[Overlap | None, Overlap | None]
) -> str:
    """What can be said of them in a sentence or two; never that one thing caused the other."""
    if not number:
        return f"No reply fell silent for {bound(least)} or more."
    many = f"{things(number, 'silent pause')} of {bound(least)} or more"
    if counted is None:
        return f"{many}; whether preemptions go with them is not known: the server did not tell of any counter."
    if not counted:
        return f"{many}; the server counted no preemption meanwhile."
    if not watched:
        return f"{many}; whether preemptions go with them is not known: the counter was not read around them."
    shown = max((one for one in found if one is not None), key=lambda one: one.seen - one.chance_high)
    how = "end as the server counts a preemption" if shown is found[1] else "overlap a preemption"
    of = "" if watched == number else f" (of {watched:,} during which the counter was read)"
    more = "more than" if shown.beyond else "no more than"
    return f"{many}: {shown.seen:,}{of} {how}, {more} the {count(shown.chance)} that would by chance."
