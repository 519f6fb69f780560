"""Did every worker come through to the server? One that never did says nothing of how the server serves."""

from collections import Counter
from collections.abc import Iterator

from probe_ext.measure.outcome import CLIENT_SIDE, Outcome
from probe_ext.verdict.checks.accounting import TOLERATED_FAULTS
from probe_ext.verdict.values.columns import texts
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.plurals import listed, things
from probe_ext.verdict.values.worker_names import worker_name

_OUTSIDE = {Outcome.CONNECT_FAILED.value, Outcome.CONNECT_TIMEOUT.value}
_ENOUGH = 3
"""replies of a worker that never came through, before it is told from a server that was away for a moment"""


def reach_checks(evidence: Evidence) -> Iterator[Finding]:
    """Of several workers, those none of whose replies found a connection while others' did."""
    tried, failed = Counter[str](), Counter[str]()
    ended = Counter(zip(texts(evidence.replies, "worker"), texts(evidence.replies, "outcome"), strict=True))
    for (worker, outcome), n in ended.items():
        if outcome not in CLIENT_SIDE:
            tried[worker] += n
            failed[worker] += n * (outcome in _OUTSIDE)
    if len(tried) < 2:
        return
    outside = {worker: n for worker, n in failed.items() if n == tried[worker] and n >= _ENOUGH}
    if not outside or len(outside) == len(tried):
        yield Finding("reach", "pass", False, "Every worker came through to the server, or none did.")
        return
    named = [(worker_name(evidence.manifest, worker), n) for worker, n in sorted(outside.items())]
    who = listed([f"{name} ({things(n, 'reply', 'replies')})" for name, n in named], 3)
    why = f"No reply of {who} found a connection to the server, while those of others did."
    advice = "Look at that machine's way to the server (name, route, firewall). Then repeat the run."
    yield Finding("reach", "fail", sum(outside.values()) > TOLERATED_FAULTS * tried.total(), why, advice)
