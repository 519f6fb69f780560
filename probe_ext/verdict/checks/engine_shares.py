"""Which part of the requests, and of the users at once, did each of several engines have?"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from probe_ext.verdict.evidence.columns import size
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import mapping
from probe_ext.verdict.phrasing.formats import percent
from probe_ext.verdict.phrasing.plurals import listed, things
from probe_ext.verdict.server.server_series import Engine, Metrics, Series, latest_sample
from probe_ext.verdict.values.finding import Finding

MIN_UNEVENNESS = 1.5
"""Requests, or users at once, of the busiest engine over those of the least busy one."""
MIN_SIGMA = 4.0
"""Standard deviations by which the busiest engine must exceed an even share; requests count as independent."""
MAX_LISTED = 6
_COUNTERS = {"requests_finished": "requests", "generation_tokens": "generated tokens"}
_TOKENS_PER_REQUEST = 100.0
"""Tokens come in lumps of a request: where only they are counted, so many are taken for one."""
ADVICE = (
    "A load balancer that keeps a connection on one engine pins each user to it. --reconnect opens a new one for "
    "every request: if the shares are even then, kept connections are the cause: balance by requests in flight instead."
)
ADVICE_SLOWER = (
    "An engine that holds more users for as many requests takes longer for each: compare the engines' hardware and "
    "settings, and balance by requests in flight."
)


def engine_shares_check(evidence: Evidence, metrics: Metrics) -> Finding:
    """Compare the engines behind one address, or of several metrics URLs."""
    counter, done = next(((name, work) for name in _COUNTERS if (work := _work(metrics, name))), ("", {}))
    held = _users_at_once(metrics)
    engines = done or held
    if not engines:
        return Finding("engine_shares", "unproven", False, "Which engine answered which requests is not known.")
    if len(engines) == 1:
        return Finding("engine_shares", "pass", False, "The metrics show a single engine.")
    if not sum(done.values()) and not sum(held.values()):
        return Finding("engine_shares", "unproven", False, "No engine's counters grew.")
    order = sorted(engines, key=lambda engine: engines[engine], reverse=True)
    parts, uneven = [], []
    for name, values, lump in (
        (f"the {_COUNTERS.get(counter)}", done, 1.0 if counter == "requests_finished" else _TOKENS_PER_REQUEST),
        ("the users at once", _as_requests(held, evidence), 1.0),
    ):
        whole = sum(values.values())
        if set(values) == set(order) and whole:
            parts.append(f"{listed([percent(values[e] / whole) for e in order[:MAX_LISTED]], MAX_LISTED)} of {name}")
            uneven.append(_uneven(values, lump))
        else:
            uneven.append(False)
    rest = f" (the {MAX_LISTED} busiest)" if len(order) > MAX_LISTED else ""
    why = f"{things(len(order), 'engine')} had {' and '.join(parts)}{rest}"
    if not any(uneven):
        return Finding("engine_shares", "pass", False, f"{why}.")
    return Finding(
        "engine_shares", "fail", False, f"{why}: uneven.", _advice(evidence, by_requests=uneven[0] or not done)
    )


def _advice(evidence: Evidence, *, by_requests: bool) -> str:
    if not by_requests:
        return ADVICE_SLOWER
    reconnects = mapping(evidence.manifest.get("options")).get("reconnect") is True
    return "Balance by requests in flight." if reconnects else ADVICE


def _work(metrics: Metrics, counter: str) -> Mapping[Engine, float]:
    """Return the growth of a counter over the run, by engine."""
    return {e: float(s.rises().sum()) for e, s in metrics.get(counter, {}).items() if len(s.t) > 1}


def _users_at_once(metrics: Metrics) -> Mapping[Engine, float]:
    """Return the mean of the requests that each engine runs or lets wait, over the time in which all were read.

    Empty where an engine's are not known.
    """
    running, waiting = metrics.get("running", {}), metrics.get("waiting", {})
    if not running or any(len(series.t) < 2 for series in running.values()):
        return {}
    start = max(float(series.t[0]) for series in running.values())
    end = min(float(series.t[-1]) for series in running.values())
    if end <= start:
        return {}
    return {
        engine: _mean(series, start, end) + (_mean(waiting[engine], start, end) if engine in waiting else 0.0)
        for engine, series in running.items()
    }


def _mean(series: Series, start: float, end: float) -> float:
    """Return the mean over time of a gauge, whose samples hold until the next one, without gaps in its samples."""
    edges = np.unique(np.clip(np.concatenate([series.t, [start, end]]), start, end))
    values, seconds = latest_sample(series, edges[:-1]), np.diff(edges)
    known = ~np.isnan(values)
    return float(np.average(values[known], weights=seconds[known])) if known.any() else 0.0


def _as_requests(held: Mapping[Engine, float], evidence: Evidence) -> Mapping[Engine, float]:
    """Weigh the users at once as so many requests as this run has replies: fewer differ by chance."""
    whole, replies = sum(held.values()), size(evidence.replies)
    return {engine: value / whole * replies for engine, value in held.items()} if whole else {}


def _uneven(shares: Mapping[Engine, float], lump: float) -> bool:
    counts: Sequence[float] = sorted(shares.values(), reverse=True)
    even = sum(counts) / len(counts) / lump
    return counts[0] > MIN_UNEVENNESS * counts[-1] and counts[0] / lump - even > MIN_SIGMA * math.sqrt(even)
