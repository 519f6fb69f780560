"""Do the server's counters move while replies finish? If not, the metrics page is an old copy or another server's."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import FINISHED
from probe_ext.verdict.evidence.columns import Floats, is_any, numbers
from probe_ext.verdict.evidence.evidence import Columns, Evidence
from probe_ext.verdict.server.server_series import Metrics, Series, read_metrics, usable_metrics

MIN_SECONDS = 10.0
"""Of a stretch without movement; counters may follow what they count."""
MIN_REPLIES = 5
"""Finished meanwhile, each of which the server would have counted."""
_LAG_S = 2.0
"""By which a counter may follow a reply, beyond the length of the request that read it."""
_COUNTERS = ("generation_tokens", "requests_finished", "prompt_tokens", "e2e_count", "ttft_count")


@dataclass(frozen=True, slots=True)
class StandingStill:
    """The longest stretch in which replies finished and no counter moved."""

    seconds: float
    replies: int
    """finished meanwhile"""
    always: bool
    """whether no counter moved in the whole run"""


def moving_metrics(evidence: Evidence) -> Metrics:
    """Return the server's metrics that can be used; none if no counter ever moved."""
    metrics = usable_metrics(read_metrics(evidence.server))
    still = standing_still(metrics, evidence.server, evidence.replies)
    return {} if still is not None and still.always else metrics


def standing_still(metrics: Metrics, server: Columns, replies: Columns) -> StandingStill | None:
    """Return when the counters stood still although they should not have; None where they moved, or none are known.

    Of several engines, one may have nothing to do: then only a standstill of all of them, for the whole run, counts.
    """
    counters = [series for name in _COUNTERS for series in metrics.get(name, {}).values() if len(series.t) > 1]
    if not counters:
        return None
    width = float(np.nanmax(numbers(server, "width"), initial=0.0))
    finished = is_any(replies, "outcome", FINISHED)
    ends = np.sort(numbers(replies, "end")[finished])
    moved = np.unique(np.concatenate([series.t[1:][np.diff(series.value) != 0] for series in counters]))
    several = len({engine for name in _COUNTERS for engine in metrics.get(name, {})}) > 1
    if several and len(moved):
        return None
    found = [
        StandingStill(end - start, inside, always=not len(moved))
        for start, end in _stretches(counters, moved)
        if (inside := _between(ends, start + _LAG_S + width, end - _LAG_S - width)) >= MIN_REPLIES
        and end - start >= MIN_SECONDS
    ]
    return max(found, key=lambda still: still.seconds, default=None)


def _stretches(counters: list[Series], moved: Floats) -> Iterator[tuple[float, float]]:
    """Yield the stretches of samples that are all alike."""
    times = np.unique(np.concatenate([series.t for series in counters]))
    firsts = np.concatenate([[times[0]], moved])
    lasts = np.append(times[np.maximum(np.searchsorted(times, moved) - 1, 0)], times[-1])
    yield from zip(firsts.tolist(), lasts.tolist(), strict=True)


def _between(ends: Floats, start: float, end: float) -> int:
    """Return how many of the sorted `ends` lie between two moments."""
    return max(0, int(np.searchsorted(ends, end, side="left") - np.searchsorted(ends, start, side="right")))
