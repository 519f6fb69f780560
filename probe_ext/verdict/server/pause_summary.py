"""Silent pauses in total: how many coincide with what the server did, and how many would by chance.

Counters belong to the server and not to a request, so overlap is evidence and no proof.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from probe_ext.verdict.evidence.evidence import quantile
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.phrasing.formats import bound, count
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.server.find_pauses import Spans
from probe_ext.verdict.server.overlap import counter_rises, overlap, windows
from probe_ext.verdict.server.pause_context import PauseContext
from probe_ext.verdict.server.server_series import Metrics, total_rise
from probe_ext.verdict.values.pause_types import Overlap, OverlapResult, Pauses

RESULTS: Mapping[OverlapResult, str] = {
    "more_than_chance": "more than chance explains",
    "cannot_tell": "too few to tell from chance",
    "no_sign": "no sign of a connection",
}
CLIENT_TIMEOUT_S = 30.0
"""Common read timeout of ordinary clients."""


def pauses(spans: Spans, context: PauseContext, threshold: float, levels: Sequence[Level], metrics: Metrics) -> Pauses:
    """Sum up all pauses of a run, which last at least `threshold` seconds."""
    seconds = spans.end - spans.start
    preemptions = total_rise(metrics, "preemptions")
    watched = int(context.watched.sum())
    compared = None if preemptions is None else _compared(spans, context, levels, metrics)
    queue_known = watched and preemptions is not None and "waiting" in metrics
    return Pauses(
        threshold=threshold,
        count=len(spans),
        replies=len(np.unique(spans.reply)),
        seconds=float(seconds.sum()),
        longest=float(seconds.max()) if len(seconds) else None,
        clients_cut=int((seconds >= CLIENT_TIMEOUT_S).sum()),
        watched=watched,
        preemptions=None if preemptions is None else round(preemptions),
        meets_preemption=int((context.meets & context.watched).sum()) if watched else None,
        ends_with_preemption=compared,
        starts_as_queue_grows=int((context.starts & context.watched).sum()) if queue_known else None,
        kv_usage_p50=quantile(context.kv_usage, 0.5),
        waiting_p50=quantile(context.waiting, 0.5),
        sentence=_sentence(len(spans), threshold, preemptions, compared),
    )


def _compared(spans: Spans, context: PauseContext, levels: Sequence[Level], metrics: Metrics) -> Overlap | None:
    """Compare the ends of the watched pauses with preemptions; None where no pause was watched to its end."""
    ends = spans.end[context.watched & spans.resumed]
    if not len(ends):
        return None
    counters = list(metrics["preemptions"].values())
    last_sample = max(float(series.t[-1]) for series in counters)
    return overlap(counter_rises(counters), ends, windows(levels, counters, max(last_sample, float(ends.max()))))


def _sentence(number: int, threshold: float, preemptions: float | None, compared: Overlap | None) -> str:
    """Say what coincides with the pauses, and never that one thing caused the other."""
    if not number:
        return f"No reply paused for {bound(threshold)} or more."
    pauses = f"{things(number, 'silent pause')} of {bound(threshold)} or more"
    if preemptions is None:
        return f"{pauses}; whether they coincide with preemptions is not known: the server does not count them."
    if not preemptions:
        return f"{pauses}; the server counted no preemptions."
    if compared is None:
        return f"{pauses}; whether they coincide with preemptions is not known: the counter was not read meanwhile."
    out_of = f"{compared.seen:,} of {compared.of:,}"
    verb = "ends" if compared.seen == 1 else "end"
    chance = f"{by_chance(compared)} would by chance"
    return f"{pauses}. {out_of} {verb} with a preemption; {chance}: {RESULTS[compared.result]}."


def by_chance(compared: Overlap) -> str:
    """Return `4 (1 to 8)`."""
    return f"{count(compared.chance)} ({count(compared.chance_low)} to {count(compared.chance_high)})"
