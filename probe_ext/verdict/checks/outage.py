"""Could the server no longer be reached from some moment to the end? No number of users is to blame for that."""

from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import CLIENT_SIDE, Outcome
from probe_ext.verdict.evidence.columns import Bools, is_any, numbers, texts_at
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.phrasing.formats import moment
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.values.finding import Finding

REFUSED = frozenset({Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT})
MIN_REPLIES_GONE = 3
"""Fewer may be an accident."""


@dataclass(frozen=True)
class Outage:
    """The outage at the end of a run."""

    mask: Bools
    """replies that it broke off or refused; none without an outage"""
    finding: Finding
    since: float | None = None
    """seconds into the run of the last answer; None without an outage"""


def outage(evidence: Evidence) -> Outage:
    """Find it by connections that all fail after the last answer."""
    ends, due = (numbers(evidence.replies, column) for column in ("end", "due"))
    refused = is_any(evidence.replies, "outcome", REFUSED)
    ours = is_any(evidence.replies, "outcome", CLIENT_SIDE)
    answered, none = ~refused & ~ours, np.zeros(len(due), dtype=np.bool_)
    if not answered.any():
        return Outage(none, Finding("server_gone", "unproven", False, "The server answered no request."))
    since = float(ends[answered].max())
    lost = int((refused & (due > since)).sum())
    if lost < MIN_REPLIES_GONE:
        return Outage(none, Finding("server_gone", "pass", False, "The server was reachable until the end."))
    whole = is_any(evidence.replies, "outcome", {Outcome.COMPLETE})
    last_whole = float(ends[whole].max()) if whole.any() else since
    first = int(np.argmax(refused & (due > since)))
    said = texts_at(evidence.replies, "message", np.array([first]))[0].rstrip(".")
    why = (
        f"The server stopped answering: from {moment(since)} on no connection succeeded "
        f"({things(lost, 'reply', 'replies')}{said and f': {said}'}). The server or the network was down. Replies that "
        "failed since then, or broke off at that moment, are not judged."
    )
    finding = Finding("server_gone", "fail", False, why, "Check the server's log and repeat the run.")
    return Outage(~whole & ~ours & (ends >= last_whole), finding, since)
