"""Could every worker use the server? A worker without access says nothing about how the server performs."""

from collections import Counter
from collections.abc import Iterator

from probe_ext.measure.outcome import CLIENT_SIDE, Outcome
from probe_ext.verdict.checks.accounting import MAX_CLIENT_FAULT_SHARE
from probe_ext.verdict.checks.failure_causes import UNAUTHORIZED
from probe_ext.verdict.evidence.columns import numbers, pair_counts, text_counts
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.phrasing.plurals import listed, things
from probe_ext.verdict.phrasing.worker_names import LONE, worker_name
from probe_ext.verdict.values.finding import Finding

MIN_FAILED_REPLIES = 3
"""Replies of a worker that never connected; fewer may be a short outage of the server."""
_NO_CONNECTION = {Outcome.CONNECT_FAILED.value, Outcome.CONNECT_TIMEOUT.value}


def access_checks(evidence: Evidence) -> Iterator[Finding]:
    """Yield the checks of API keys and of the network path of each worker."""
    yield _api_key(evidence)
    yield from _reach(evidence)


def _api_key(evidence: Evidence) -> Finding:
    rejected = numbers(evidence.replies, "status") == UNAUTHORIZED
    if not rejected.any():
        return Finding("api_key", "pass", False, "No reply was rejected for its API key.")
    by_worker = text_counts(evidence.replies, "worker", rejected)
    named = [(worker_name(evidence.manifest, worker), n) for worker, n in sorted(by_worker.items())]
    who = listed([f"{n:,} of {name}" for name, n in named if name != LONE], 3)
    who = f" ({who})" if who else ""
    why = f"{things(by_worker.total(), 'reply', 'replies')} failed with HTTP 401: no valid API key{who}."
    messages = text_counts(evidence.replies, "message", rejected)
    del messages[""]
    said = messages.most_common(1)
    why += f" The server says: {said[0][0].rstrip('.')}." if said else ""
    advice = "Set PROBE_API_KEY in the environment of every worker; the master does not send it. Then repeat the run."
    too_many = by_worker.total() > MAX_CLIENT_FAULT_SHARE * len(rejected)
    return Finding("api_key", "fail", too_many, why, advice)


def _reach(evidence: Evidence) -> Iterator[Finding]:
    """Find workers that never connected while others did. Nothing to compare with a single worker."""
    tried, failed = Counter[str](), Counter[str]()
    ended = pair_counts(evidence.replies, "worker", "outcome")
    for (worker, outcome), n in ended.items():
        if outcome not in CLIENT_SIDE:
            tried[worker] += n
            failed[worker] += n * (outcome in _NO_CONNECTION)
    if len(tried) < 2:
        return
    cut_off = {worker: n for worker, n in failed.items() if n == tried[worker] and n >= MIN_FAILED_REPLIES}
    if not cut_off or len(cut_off) == len(tried):
        yield Finding("reach", "pass", False, "Either all workers reached the server, or none did.")
        return
    named = [(worker_name(evidence.manifest, worker), n) for worker, n in sorted(cut_off.items())]
    who = listed([f"{name} ({things(n, 'reply', 'replies')})" for name, n in named], 3)
    why = f"No request of {who} reached the server, while those of other workers did."
    advice = "Check name resolution, routing and firewall of that machine. Then repeat the run."
    yield Finding("reach", "fail", sum(cut_off.values()) > MAX_CLIENT_FAULT_SHARE * tried.total(), why, advice)
