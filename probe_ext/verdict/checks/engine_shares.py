"""Which part of the requests did each of several engines answer?"""

import math
from collections.abc import Mapping

from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import mapping
from probe_ext.verdict.phrasing.formats import percent
from probe_ext.verdict.phrasing.plurals import listed, things
from probe_ext.verdict.server.server_series import Engine, Metrics
from probe_ext.verdict.values.finding import Finding

MIN_UNEVENNESS = 1.5
"""Requests of the busiest engine over those of the least busy one."""
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


def engine_shares_check(evidence: Evidence, metrics: Metrics) -> Finding:
    """Compare the engines behind one address, or of several metrics URLs."""
    counter, done = next(((name, done) for name in _COUNTERS if (done := _work(metrics, name))), ("", {}))
    if not done:
        return Finding("engine_shares", "unproven", False, "Which engine answered which requests is not known.")
    if len(done) == 1:
        return Finding("engine_shares", "pass", False, "The metrics show a single engine.")
    whole, counts = sum(done.values()), sorted(done.values(), reverse=True)
    if not whole:
        return Finding("engine_shares", "unproven", False, "No engine's counters grew.")
    shares = [percent(count / whole) for count in counts[:MAX_LISTED]]
    rest = f" (the {MAX_LISTED} busiest)" if len(counts) > MAX_LISTED else ""
    why = f"{things(len(done), 'engine')} had {listed(shares)} of the {_COUNTERS[counter]}{rest}"
    if not _uneven(counts, 1.0 if counter == "requests_finished" else _TOKENS_PER_REQUEST):
        return Finding("engine_shares", "pass", False, f"{why}.")
    reconnects = mapping(evidence.manifest.get("options")).get("reconnect") is True
    advice = "Balance by requests in flight." if reconnects else ADVICE
    return Finding("engine_shares", "fail", False, f"{why}: uneven.", advice)


def _work(metrics: Metrics, counter: str) -> Mapping[Engine, float]:
    """Return the growth of a counter over the run, by engine."""
    return {e: float(s.rises().sum()) for e, s in metrics.get(counter, {}).items() if len(s.t) > 1}


def _uneven(counts: list[float], lump: float) -> bool:
    even = sum(counts) / len(counts) / lump
    return counts[0] > MIN_UNEVENNESS * counts[-1] and counts[0] / lump - even > MIN_SIGMA * math.sqrt(even)
