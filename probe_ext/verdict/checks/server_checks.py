"""What the server said of itself, and whether it fits what its clients saw."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from probe_ext.measure.outcome import CLIENT_SIDE, FINISHED, Outcome
from probe_ext.verdict.server.server_series import STALE, Metrics, restarts, total_rise
from probe_ext.verdict.values.columns import Bools, numbers, texts
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.formats import count, moment, percent, seconds
from probe_ext.verdict.values.manifest_view import mappings, number, servers
from probe_ext.verdict.values.plurals import listed, things

APART_SHARE, APART_TOKENS = 0.02, 50
"""counts of tokens further apart than both are worth a word"""
_CLOCK = 1.0
"""seconds that the clock of a Prometheus may be off before it is worth a word"""
APART_REPLIES = 5
"""so many replies apart are no more than a call or two of somebody else"""
BY_EVENTS = 0.05
"""of the replies: so many may have their tokens counted by events only"""

NOT_FOUND = 404
GONE = 3
"""replies in a row that found no server: one or two may be a hiccup"""


def server_checks(evidence: Evidence, metrics: Metrics) -> Iterator[Finding]:
    """Metrics, restarts, a server or a model that went away, the server's counts against ours, where ours come from."""
    yield _metrics(evidence, metrics)
    yield _restarted(metrics)
    yield _gone(evidence)
    yield _vanished(evidence)
    yield _tokens(evidence, metrics)
    yield _token_source(evidence)
    yield _replies(evidence, metrics)


def _metrics(evidence: Evidence, metrics: Metrics) -> Finding:
    if metrics and isinstance(asked := evidence.manifest.get("prometheus"), Mapping):
        return _from_prometheus(asked, metrics)
    bad = [(str(s.get("url")), str(s.get("metrics"))) for s in servers(evidence.manifest) if s.get("metrics") != "ok"]
    if metrics and not bad:
        return Finding(
            "server_metrics", "pass", False, f"The server told {things(len(metrics), 'quantity', 'quantities')}."
        )
    reasons = listed([f"{url}: {why}" for url, why in bad]) if bad else "no metrics were read"
    why = f"What goes on inside the server is not known ({reasons}). How users felt is measured without it."
    advice = (
        "Switch the server's /metrics on, or name its place with --metrics-url, to see KV cache, queue and preemptions."
    )
    return Finding("server_metrics", "fail", False, why, advice)


def _from_prometheus(asked: Mapping[str, Any], metrics: Metrics) -> Finding:
    """Figures that a Prometheus had scraped: how closely, and whether by the same clock."""
    servers = mappings(asked.get("servers"))
    spacings = [every for s in servers if (every := number(s, "every")) is not None]
    gaps = sum(int(number(s, "gaps", 0.0)) for s in servers)
    why = f"A Prometheus told {things(len(metrics), 'quantity', 'quantities')} of {things(len(servers), 'server')}"
    why += f", scraped every {seconds(max(spacings))}." if spacings else "."
    advice = []
    if spacings and max(spacings) > STALE:
        why += " Between scrapes nothing is seen: the highest KV use and queue may have been higher."
        advice.append("Let it scrape the server every second or two (scrape_interval).")
    if gaps:
        why += f" In {things(gaps, 'stretch', 'stretches')} it got no answer; nothing is made up for them."
        advice.append("Its page of targets says why.")
    offset, error = number(asked, "clock_offset", 0.0), number(asked, "clock_error", 0.0)
    if abs(offset) - error > _CLOCK:
        why += f" Its clock was {seconds(abs(offset))} {'ahead' if offset > 0 else 'behind'} when it was asked."
        advice.append("Its figures may be out of step with the replies by as much: set the clocks (NTP).")
    return Finding("server_metrics", "fail" if advice else "pass", False, why, " ".join(advice))


def _restarted(metrics: Metrics) -> Finding:
    if not metrics:
        return Finding("server_restarted", "unproven", False, "Without metrics a restart of the server is not seen.")
    seen = sorted(set(restarts(metrics)), key=lambda one: one[1])
    if not seen:
        return Finding("server_restarted", "pass", False, "The server ran through.")
    when = listed([f"{url} at {moment(t)}" for url, t in seen])
    why = f"The server started anew during the run ({when}): levels after it met a cold server."
    return Finding(
        "server_restarted", "fail", False, why, "Look into the server's log (out of memory?) and repeat the run."
    )


def _gone(evidence: Evidence) -> Finding:
    """Nobody got through any more, from some moment to the end: no number of users is to blame for that."""
    outcomes, ends, due = (texts(evidence.replies, "outcome"), *(numbers(evidence.replies, c) for c in ("end", "due")))
    refused = np.isin(outcomes, [Outcome.CONNECT_FAILED.value, Outcome.CONNECT_TIMEOUT.value])
    answered = ~refused & ~np.isin(outcomes, [outcome.value for outcome in CLIENT_SIDE])
    if not answered.any():
        return Finding("server_gone", "unproven", False, "No reply came from the server.")
    since = float(ends[answered].max())
    lost = int((refused & (due > since)).sum())
    if lost < GONE:
        return Finding("server_gone", "pass", False, "The server could be reached to the end.")
    why = (
        f"From {moment(since)} on nobody could connect ({things(lost, 'reply', 'replies')}): the server, or the way to "
        "it, was gone. What failed since then says nothing of how many users it serves."
    )
    return Finding("server_gone", "fail", False, why, "Look into the server's log and repeat the run.")


def _vanished(evidence: Evidence) -> Finding:
    """Replies refused with HTTP 404 by a model that had answered before: unloaded, renamed, or a proxy's way to it."""
    none = Finding("model_vanished", "pass", False, "No model went away that had answered before.")
    outcomes, statuses = texts(evidence.replies, "outcome"), numbers(evidence.replies, "status")
    if not (statuses == NOT_FOUND).any():
        return none
    ends = numbers(evidence.replies, "end")
    answered: dict[tuple[str, bool], float] = {}
    gone: list[tuple[tuple[str, bool], float]] = []
    asked = zip(texts(evidence.replies, "scenario"), texts(evidence.replies, "kind"), strict=True)
    for (name, kind), outcome, status, end in zip(asked, outcomes, statuses, ends, strict=True):
        which = (name, kind == "completion")  # names may ask different models, and APIs need not both be there
        if outcome == Outcome.COMPLETE:
            answered[which] = min(end, answered.get(which, math.inf))
        elif status == NOT_FOUND:
            gone.append((which, end))
    since = sorted(end for which, end in gone if answered.get(which, math.inf) < end)
    if not since:
        return none
    why = (
        f"{things(len(since), 'reply', 'replies')} ended with HTTP 404 from {moment(since[0])} on, after the same model"
    )
    why += " had answered: it was no longer there."
    advice = "Look into the server's log: the model may have been unloaded, renamed or replaced. Then repeat the run."
    return Finding("model_vanished", "fail", False, why, advice)


def _tokens(evidence: Evidence, metrics: Metrics) -> Finding:
    """Tokens by the server's counter over the run against those that clients saw; ended replies included.

    Replies that lie outside the counter's first and last sample, even in part, may be missing from its growth.
    """
    theirs = total_rise(metrics, "generation_tokens")
    out = numbers(evidence.replies, "tokens_out")
    ours = float(np.nansum(out))
    if theirs is None or np.isnan(out).all():
        return Finding("server_tokens", "unproven", False, "There are not two counts of the tokens made to compare.")
    unseen = _outside(evidence, metrics)
    allowed = max(APART_TOKENS, APART_SHARE * max(theirs, ours))
    counts = f"{count(theirs)} and {count(ours)}"
    if abs(theirs - ours) <= allowed:
        return Finding("server_tokens", "pass", False, f"Server and clients agree on the tokens made: {counts}.")
    if -unseen - allowed <= theirs - ours < 0:
        why = f"The server's counter was not read early or late enough to compare it with the clients' ({counts})."
        return Finding("server_tokens", "unproven", False, why)
    why = f"The server counted {count(theirs)} tokens made, its clients saw {count(ours)}."
    if theirs > ours:
        advice = "Somebody else used the server, or it went on with replies that nobody read any more. Run it alone."
    else:
        advice = (
            "Some answers came from a cache in front of the model, or the metrics are those of one of several servers."
        )
    return Finding("server_tokens", "fail", False, why, advice)


def _outside(evidence: Evidence, metrics: Metrics) -> float:
    """Tokens of replies that began before the server's counter was first read, or ended after it was last."""
    return float(np.nansum(numbers(evidence.replies, "tokens_out")[_beyond(evidence, metrics, "generation_tokens")]))


def _beyond(evidence: Evidence, metrics: Metrics, counter: str) -> Bools:
    """Replies that were not wholly under way while the counter was read."""
    engines = [series for series in metrics.get(counter, {}).values() if len(series.t)]
    first, last = max(s.t[0] for s in engines), min(s.t[-1] for s in engines)
    beyond: Bools = (numbers(evidence.replies, "sent") < first) | (numbers(evidence.replies, "end") > last)
    return beyond


def _replies(evidence: Evidence, metrics: Metrics) -> Finding:
    """Requests that the server finished over the run against the replies that came to an end of their own."""
    theirs = total_rise(metrics, "requests_finished")
    whole = np.array([outcome in FINISHED for outcome in texts(evidence.replies, "outcome")], dtype=np.bool_)
    ours = int(whole.sum())
    single = not (numbers(evidence.replies, "choices") > 1).any()
    if theirs is None or not ours or not single:
        return Finding("server_replies", "unproven", False, "There are not two counts of the replies to compare.")
    apart = abs(theirs - ours) - int((whole & _beyond(evidence, metrics, "requests_finished")).sum())
    if apart <= APART_REPLIES or apart <= APART_SHARE * max(theirs, ours):
        why = f"Server and clients agree on the replies that were finished: {count(theirs)} and {ours:,}."
        return Finding("server_replies", "pass", False, why)
    why = f"The server finished {count(theirs)} requests, its clients saw {ours:,} replies come to their end."
    if theirs > ours:
        advice = "Somebody else used the server at the same time, or a proxy asks again what failed. Run it alone."
    else:
        advice = "A cache or a second server answered some of them, or the metrics are those of one of several servers."
    return Finding("server_replies", "fail", False, why, advice)


def _token_source(evidence: Evidence) -> Finding:
    sources = Counter(source for source in texts(evidence.replies, "tokens_from") if source)
    if not sources:
        return Finding("token_source", "unproven", False, "Nowhere is said how tokens were counted.")
    share = sources.get("events", 0) / sources.total()
    if share <= BY_EVENTS:
        return Finding("token_source", "pass", False, "Tokens are those that the server counted.")
    why = f"For {percent(share)} of the replies the server gave no count: an event was taken for a token."
    advice = "Typing speed is too low where events carry several tokens; ask for usage (--usage continuous or final)."
    return Finding("token_source", "fail", False, why, advice)
