"""Silent pauses in total: how many coincide with what the server did, and how many would by chance.

Counters belong to the server and not to a request, so overlap is evidence and no proof.
"""

from collections.abc import Sequence

import numpy as np

from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.find_pauses import Spans
from probe_ext.verdict.server.overlap import Brackets, overlap, rises, stretches
from probe_ext.verdict.server.pause_context import PauseContext
from probe_ext.verdict.server.server_series import Metrics, total_rise
from probe_ext.verdict.values.columns import Floats
from probe_ext.verdict.values.evidence import quantile
from probe_ext.verdict.values.formats import bound, count
from probe_ext.verdict.values.pause_types import Overlap, Pauses
from probe_ext.verdict.values.plurals import things

CLIENT_TIMEOUT_S = 30.0
"""Common read timeout of ordinary clients."""


def pauses(spans: Spans, context: PauseContext, threshold: float, levels: Sequence[Level], metrics: Metrics) -> Pauses:
    """Sum up all pauses of a run, which last at least `threshold` seconds."""
    seconds = spans.end - spans.start
    preemptions = total_rise(metrics, "preemptions")
    overlaps = (None, None, None) if preemptions is None else _overlaps(spans, context, levels, metrics)
    watched = int(context.watched.sum())
    return Pauses(
        threshold=threshold,
        count=len(spans),
        replies=len(np.unique(spans.reply)),
        seconds=float(seconds.sum()),
        longest=float(seconds.max()) if len(seconds) else None,
        clients_cut=int((seconds >= CLIENT_TIMEOUT_S).sum()),
        watched=watched,
        preemptions=None if preemptions is None else round(preemptions),
        meets_preemption=overlaps[0],
        ends_with_preemption=overlaps[1],
        starts_as_queue_grows=overlaps[2],
        kv_usage_p50=quantile(context.kv_usage, 0.5),
        waiting_p50=quantile(context.waiting, 0.5),
        sentence=_sentence(len(spans), threshold, preemptions, watched, overlaps[:2]),
    )


def _overlaps(
    spans: Spans, context: PauseContext, levels: Sequence[Level], metrics: Metrics
) -> tuple[Overlap | None, Overlap | None, Overlap | None]:
    """Return the three kinds of overlap of the watched pauses; None where there is nothing to compare."""
    watched = np.flatnonzero(context.watched)
    resumed = watched[spans.resumed[watched]]
    counters, queues = (list(metrics.get(name, {}).values()) for name in ("preemptions", "waiting"))
    last_sample = max(float(series.t[-1]) for series in counters)
    edges = stretches(levels, max(last_sample, float(spans.end.max()) if len(spans) else 0.0))

    def compared(brackets: Brackets, start: Floats, end: Floats) -> Overlap | None:
        return overlap(brackets, start, end, edges) if len(start) else None

    counter_rises = rises(counters)
    return (
        compared(counter_rises, spans.start[watched], spans.end[watched]),
        compared(counter_rises, spans.end[resumed], spans.end[resumed]),
        compared(rises(queues), spans.start[watched], spans.start[watched]) if queues else None,
    )


def _sentence(
    number: int,
    threshold: float,
    preemptions: float | None,
    watched: int,
    overlaps: tuple[Overlap | None, Overlap | None],
) -> str:
    """Say what coincides with the pauses, and never that one thing caused the other."""
    if not number:
        return f"No reply paused for {bound(threshold)} or more."
    pauses = f"{things(number, 'silent pause')} of {bound(threshold)} or more"
    if preemptions is None:
        return f"{pauses}; whether they coincide with preemptions is not known: the server does not count them."
    if not preemptions:
        return f"{pauses}; the server counted no preemptions."
    if not watched:
        return f"{pauses}; whether they coincide with preemptions is not known: the counter was not read meanwhile."
    clearest = max((kind for kind in overlaps if kind is not None), key=lambda kind: kind.seen - kind.chance_high)
    verb = "ends" if clearest.seen == 1 else "end"
    how = f"{verb} as the server counts a preemption"
    if clearest is not overlaps[1]:
        how = f"{'overlaps' if clearest.seen == 1 else 'overlap'} a preemption"
    out_of = "" if watched == number else f" (of {watched:,} during which the counter was read)"
    more = "more than" if clearest.beyond_chance else "no more than"
    return f"{pauses}: {clearest.seen:,}{out_of} {how}, {more} the {count(clearest.chance)} expected by chance."
