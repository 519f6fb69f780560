"""Did replies fail alike for a reason unrelated to load? They say nothing about how many users can be served.

Two cases. Every reply of the run failed in the same way, none was answered, and the warm-up did not show that the
server can answer as many at once. Or some failed in a way that load never causes, such as HTTP 404, whenever it began.
Waiting in vain is the server's answer to the load, and never counts here.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe_ext.measure.outcome import CLIENT_SIDE, Outcome
from probe_ext.verdict.checks.accounting import MAX_CLIENT_FAULT_SHARE
from probe_ext.verdict.checks.failure_causes import UNAUTHORIZED, Failure
from probe_ext.verdict.evidence.columns import Bools, is_any, numbers, texts_at
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import mapping, mappings, number
from probe_ext.verdict.phrasing.formats import moment
from probe_ext.verdict.phrasing.plurals import capitalised, some_of, things
from probe_ext.verdict.values.finding import Finding

MIN_FAILED_REPLIES = 3
"""Fewer may be an accident."""
MIN_ALIKE_SHARE = 0.99
_NO_FAILURES: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class EqualFailures:
    """Replies that failed for a reason unrelated to load."""

    mask: Bools
    """which replies; none if they are too few to matter"""
    finding: Finding


def equal_failures(evidence: Evidence) -> EqualFailures:
    """Find these replies in a run."""
    counted = ~is_any(evidence.replies, "outcome", CLIENT_SIDE)
    failed = np.flatnonzero(counted & ~is_any(evidence.replies, "outcome", {Outcome.COMPLETE}))
    failures = _failures(evidence, failed)
    none = np.zeros(len(counted), dtype=np.bool_)
    if len(failed) == counted.sum() and _all_alike(evidence, failures):
        mask = none.copy()
        mask[failed] = True
        return EqualFailures(mask, all_failed(most_common(failures), len(failed)))
    rows = failed[[one.is_never_load for one in failures]] if len(failed) else failed
    mask = none.copy()
    mask[rows] = True
    if len(rows) <= MAX_CLIENT_FAULT_SHARE * counted.sum():
        why = "No reply failed for a reason that load does not explain."
        if len(rows):
            few = things(len(rows), "reply", "replies")
            why = f"{few} failed for a reason that load does not explain, too few to matter."
        return EqualFailures(none, Finding("equal_failures", "pass", True, why))
    of_key = [one.code == UNAUTHORIZED for one in failures if one.is_never_load]
    if all(of_key):  # the check of API keys says so, worker by worker
        return EqualFailures(
            mask, Finding("equal_failures", "pass", True, "Replies failed in the same way only because of the API key.")
        )
    return EqualFailures(mask, _some_failed(evidence, failures, rows, int(counted.sum())))


def _failures(evidence: Evidence, rows: Any) -> Sequence[Failure]:
    replies = evidence.replies
    outcomes, messages, finishes = (texts_at(replies, name, rows) for name in ("outcome", "message", "finish_reason"))
    status = numbers(replies, "status")[rows].tolist()
    known: dict[tuple[str, float, str, str], Failure] = {}
    found = []
    for outcome, code, message, finish in zip(outcomes, status, messages, finishes, strict=True):
        key = (outcome, -1.0 if math.isnan(code) else code, message, finish)
        if key not in known:
            known[key] = Failure(key[0], None if key[1] < 0 else int(key[1]), key[2], key[3])
        found.append(known[key])
    return found or _NO_FAILURES


def most_common(failures: Sequence[Failure]) -> Failure:
    """Return the commonest of the commonest kind: the one whose words stand for all."""
    kind = Counter(one.kind for one in failures).most_common(1)[0][0]
    return Counter(one for one in failures if one.kind == kind).most_common(1)[0][0]


def all_failed(failure: Failure, number_of_replies: int, *, before_the_run: bool = False) -> Finding:
    """Return the finding for a run, or a warm-up, in which every reply failed alike."""
    replies = capitalised(some_of(number_of_replies, number_of_replies, "reply", "replies"))
    requests, alike = ("the request sent", "") if number_of_replies == 1 else ("requests sent one at a time", " alike")
    when = f" to {requests} before the run" if before_the_run else ""
    why = f"{replies}{when} failed{alike}, for a reason unrelated to load: {failure.words.rstrip('.')}."
    return Finding("equal_failures", "fail", True, why, failure.advice)


def _all_alike(evidence: Evidence, failures: Sequence[Failure]) -> bool:
    """Tell whether failures without a single answer have one reason, which is not the number of users."""
    if len(failures) < MIN_FAILED_REPLIES or sum(one.is_slow for one in failures) > len(failures) // 100:
        return False
    kinds = Counter(one.kind for one in failures)
    if kinds.most_common(1)[0][1] < MIN_ALIKE_SHARE * len(failures):
        return False
    if all(one.code == UNAUTHORIZED for one in failures):
        return False
    if most_common(failures).is_never_load:
        return True
    return _fewest_users(evidence) <= max(1, _answered_at_once(evidence.manifest) or 10**9)


def _fewest_users(evidence: Evidence) -> float:
    """Return the smallest number of users that was meant to be reached, else that was there; 1 if unknown.

    While many users are started at once, a sample may see few of them.
    """
    target, users = numbers(evidence.users, "target"), numbers(evidence.users, "users")
    present = target[target > 0] if (target > 0).any() else users[users > 0]
    return float(present.min()) if present.size else 1.0


def _answered_at_once(manifest: Mapping[str, Any]) -> int | None:
    """Return how many requests at once the warm-up showed to be answered; None if it showed nothing."""
    rounds = mappings(mapping(manifest.get("warm_up")).get("rounds"))
    answered = [number(one, "requests", 0.0) for one in rounds if number(one, "failed", 1.0) == 0]
    return int(max(answered)) if answered else None


def _some_failed(evidence: Evidence, failures: Sequence[Failure], rows: Any, total: int) -> Finding:
    never = [one for one in failures if one.is_never_load]
    worst = most_common([one for one in never if one.code != UNAUTHORIZED])
    at = numbers(evidence.replies, "end")
    first = float(np.nanmin(at[rows])) if (~np.isnan(at[rows])).any() else None
    complete = is_any(evidence.replies, "outcome", {Outcome.COMPLETE})
    later = first is not None and bool((at[complete] < first).any())
    since = f" from {moment(first)} on" if later and first is not None else ""
    why = f"{len(rows):,} of {things(total, 'reply', 'replies')} failed{since} for a reason that load does not explain"
    return Finding("equal_failures", "fail", True, f"{why}: {worst.words.rstrip('.')}.", worst.advice)
