"""Did the server take the API key of every worker?"""

from collections import Counter
from collections.abc import Iterator

from probe_ext.verdict.checks.accounting import TOLERATED_FAULTS
from probe_ext.verdict.values.columns import numbers, texts
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.plurals import listed, things
from probe_ext.verdict.values.worker_names import LONE, worker_name

UNAUTHORISED = 401


def key_checks(evidence: Evidence) -> Iterator[Finding]:
    """Replies refused with HTTP 401: users who were never let in say nothing of how the server serves."""
    refused = numbers(evidence.replies, "status") == UNAUTHORISED
    if not refused.any():
        yield Finding("api_key", "pass", False, "No reply was refused for want of a valid API key.")
        return
    whose = Counter(name for name, out in zip(texts(evidence.replies, "worker"), refused, strict=True) if out)
    named = [(worker_name(evidence.manifest, worker), n) for worker, n in sorted(whose.items())]
    who = listed([f"{n:,} of {name}" for name, n in named if name != LONE], 3)
    who = f" ({who})" if who else ""
    why = f"{things(whose.total(), 'reply', 'replies')} came back with HTTP 401, which asks for a valid API key{who}."
    advice = (
        "Set PROBE_API_KEY in the environment of every worker: no key is sent from the master. Then repeat the run."
    )
    spoils = whose.total() > TOLERATED_FAULTS * len(refused)
    yield Finding("api_key", "fail", spoils, why, advice)
