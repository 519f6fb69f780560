"""What the server reported, and whether it agrees with what its clients saw."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from probe_ext.measure.findings import FindingName
from probe_ext.measure.outcome import FINISHED, Outcome
from probe_ext.verdict.evidence.columns import Bools, is_any, numbers, text_codes
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import mapping, mappings, number, servers
from probe_ext.verdict.grading.server_times import MAX_TIME_APART_S
from probe_ext.verdict.phrasing.formats import count, moment, seconds
from probe_ext.verdict.phrasing.plurals import is_or_are, listed, things
from probe_ext.verdict.server.server_series import (
    STALE_S,
    Metrics,
    read_metrics,
    restarts,
    total_rise,
    usable_metrics,
)
from probe_ext.verdict.server.standing_still import standing_still
from probe_ext.verdict.values.finding import Finding

MAX_TOKEN_SHARE_APART, MAX_TOKENS_APART = 0.02, 50
"""Token counts of server and clients that differ by more than both are a warning."""
MAX_REPLIES_APART = 5
"""A difference of so few requests is ignored."""
MAX_CLOCK_OFFSET_S = 1.0
"""Of a Prometheus."""
"""Failed connections in a row at the end; fewer may be a short outage."""
NOT_FOUND = 404


def server_checks(evidence: Evidence, metrics: Metrics) -> Iterator[Finding]:
    """Yield the checks of metrics, restarts, outages, vanished models, and token and reply counts."""
    yield _metrics(evidence, metrics)
    yield _restarted(metrics)
    yield _model_vanished(evidence)
    yield _tokens(evidence, metrics)
    yield _replies(evidence, metrics)


def _metrics(evidence: Evidence, metrics: Metrics) -> Finding:
    prometheus = evidence.manifest.get("prometheus")
    if mapping(evidence.manifest.get("options")).get("no_metrics") is True and not metrics:
        return Finding("server_metrics", "unproven", False, "The server's metrics were not asked for (--no-metrics).")
    if stands_still := _standing_still(evidence):
        return stands_still
    if metrics and isinstance(prometheus, Mapping):
        return _from_prometheus(prometheus, metrics, with_gpus=bool(len(evidence.gpu.get("t", ()))))
    bad = [(str(s.get("url")), str(s.get("metrics"))) for s in servers(evidence.manifest) if s.get("metrics") != "ok"]
    if metrics and not bad:
        read = things(len(metrics), "metric")
        why = f"{read} read from the server.{_lacking(evidence, metrics)}"
        if odd := _impossible_times(evidence):
            return Finding("server_metrics", "fail", False, f"{why} {odd}", _ADVICE_TIMES)
        return Finding("server_metrics", "pass", False, why)
    reasons = listed([f"{url}: {why}" for url, why in bad]) if bad else "no metrics were read"
    why = f"The server's own metrics are missing ({reasons}). What users experienced is measured without them."
    advice = (
        "Enable the server's /metrics endpoint, or give its URL with --metrics-url, to see KV cache, queue and "
        "preemptions."
    )
    return Finding("server_metrics", "fail", False, why, advice)


_ADVICE_TIMES = "The server's own times per reply are wrong, or of other replies: do not rely on them."


def _impossible_times(evidence: Evidence) -> str:
    """Say how many replies reached us sooner than the server says that it began them; empty where none did."""
    replies = evidence.replies
    ours = numbers(replies, "first") - numbers(replies, "sent")
    wrong = int((numbers(replies, "server_ttft") > ours + MAX_TIME_APART_S).sum())
    if not wrong:
        return ""
    left_out = "it is" if wrong == 1 else "these are"
    return f"In {things(wrong, 'reply', 'replies')}, the server's own TTFT is longer than ours: {left_out} left out."


def _standing_still(evidence: Evidence) -> Finding | None:
    still = standing_still(usable_metrics(read_metrics(evidence.server)), evidence.server, evidence.replies)
    if still is None:
        return None
    replies = things(still.replies, "reply", "replies")
    if still.always:
        why = f"The server's counters did not move while {replies} finished: the metrics page is an old copy, or "
        why += "another server's, or a cache answered everything. Nothing is concluded from it."
    else:
        why = f"The server's counters stood still for {seconds(still.seconds)} while {replies} finished: the metrics "
        why += "page is an old copy for so long, or a cache answered."
    advice = "Name the server's own page with --metrics-url, past any proxy that keeps copies of it."
    return Finding("server_metrics", "fail", False, why, advice)


def _lacking(evidence: Evidence, metrics: Metrics) -> str:
    """Say what the pages do not have, and what that costs; empty where nothing is missing."""
    lacks = [f"{what}: {cost}" for names, what, cost in _COST_OF_MISSING if not any(name in metrics for name in names)]
    caches = [mapping(server.get("cache")) for server in servers(evidence.manifest)]
    if not any(cache.get("kv_tokens") or cache.get("slots") for cache in caches):
        lacks.append("configuration of the KV cache: how many replies fit is not forecast")
    return f" Not reported: {'; '.join(lacks)}." if lacks else ""


_COST_OF_MISSING = (
    (("running",), "requests running", "how many run at once is not known"),
    (("waiting",), "requests waiting", "whether they queue is not known"),
    (("kv_usage",), "KV-cache usage", "how full it gets is not known"),
    (("preemptions",), "preemptions", "silent pauses are not compared with them"),
    (("requests_finished",), "finished requests", "others' load shows in tokens only"),
    (("generation_tokens",), "generated tokens", "others' load and cut answers do not show in them"),
    (("itl_sum", "tpot_sum"), "time per token", "a server that slows down, or a slow replica, does not show in it"),
)
"""Quantities of which any tells something, in words, and what is not known without them."""


def _from_prometheus(prometheus: Mapping[str, Any], metrics: Metrics, *, with_gpus: bool) -> Finding:
    """How closely a Prometheus scraped the server, and whether its clock agrees."""
    targets = mappings(prometheus.get("servers"))
    intervals = [every for target in targets if (every := number(target, "every")) is not None]
    gaps = sum(int(number(target, "gaps", 0.0)) for target in targets)
    why = f"{things(len(metrics), 'metric')} of {things(len(targets), 'server')} read from a Prometheus"
    why += f", scraped every {seconds(max(intervals))}." if intervals else "."
    advice = []
    if intervals and max(intervals) > STALE_S:
        why += " Peaks of KV-cache usage and queue between scrapes are not seen."
        advice.append("Scrape the server every second or two (scrape_interval).")
    if gaps:
        why += f" {things(gaps, 'interval')} without a successful scrape {is_or_are(gaps)} left blank."
        advice.append("See its targets page for the reason.")
    offset, error = number(prometheus, "clock_offset", 0.0), number(prometheus, "clock_error", 0.0)
    if abs(offset) - error > MAX_CLOCK_OFFSET_S:
        why += f" Its clock was {seconds(abs(offset))} {'ahead' if offset > 0 else 'behind'}."
        advice.append("Server metrics may be shifted against the replies by as much: synchronise the clocks (NTP).")
    if not with_gpus:
        why += " GPUs are not read from it: power, temperature and energy are missing without --gpu-metrics."
    return Finding("server_metrics", "fail" if advice else "pass", False, why, " ".join(advice))


def _restarted(metrics: Metrics) -> Finding:
    if not metrics:
        return Finding("server_restarted", "unproven", False, "Without metrics a restart of the server is not visible.")
    seen = sorted(set(restarts(metrics)), key=lambda restart: restart[1])
    if not seen:
        return Finding("server_restarted", "pass", False, "No restart of the server detected.")
    when = listed([f"{url} at {moment(t)}" for url, t in seen])
    why = f"The server restarted during the run ({when}): later levels met a cold server."
    advice = "Check the server's log (out of memory?) and repeat the run."
    return Finding("server_restarted", "fail", False, why, advice)


def _model_vanished(evidence: Evidence) -> Finding:
    """HTTP 404 from a model that answered before: it was unloaded or renamed, or a proxy changed its route."""
    none = Finding("model_vanished", "pass", False, "Every model stayed available.")
    statuses = numbers(evidence.replies, "status")
    if not (statuses == NOT_FOUND).any():
        return none
    complete, end = is_any(evidence.replies, "outcome", {Outcome.COMPLETE}), numbers(evidence.replies, "end")
    # Scenarios may use different models, and a server need not offer both APIs.
    code, names = text_codes(evidence.replies, "scenario")
    endpoint = 2 * code + is_any(evidence.replies, "kind", {"completion"})
    answered = np.full(2 * len(names), np.inf)
    np.fmin.at(answered, endpoint[complete], end[complete])
    not_found = (statuses == NOT_FOUND) & ~complete
    since = np.sort(end[not_found & (answered[endpoint] < end)]).tolist()
    if not since:
        return none
    failed = things(len(since), "reply", "replies")
    why = f"{failed} failed with HTTP 404 from {moment(since[0])} on, after the same model had answered."
    advice = "Check the server's log: the model may have been unloaded, renamed or replaced. Then repeat the run."
    return Finding("model_vanished", "fail", False, why, advice)


def _tokens(evidence: Evidence, metrics: Metrics) -> Finding:
    """Compare the server's counter of generated tokens with those that clients received, aborted replies included.

    Replies that lie partly outside the counter's first and last sample may be missing from its growth.
    """
    name: FindingName = "server_tokens"
    server = total_rise(metrics, "generation_tokens")
    out = numbers(evidence.replies, "tokens_out")
    clients = float(np.nansum(out))
    if server is None or np.isnan(out).all():
        return Finding(name, "unproven", False, "Generated tokens were not counted on both sides.")
    allowed = max(MAX_TOKENS_APART, MAX_TOKEN_SHARE_APART * max(server, clients))
    if abs(server - clients) <= allowed:
        why = f"Server and clients agree on the generated tokens: {count(server)} and {count(clients)}."
        return Finding(name, "pass", False, why)
    unseen = float(np.nansum(out[outside_counter(evidence, metrics, "generation_tokens")]))
    if -unseen - allowed <= server - clients < 0:
        why = "The server's token counter was read too late or not long enough to compare it with the clients' "
        return Finding(name, "unproven", False, f"{why}({count(server)} and {count(clients)}).")
    why = f"The server generated {things(round(server), 'token')}, its clients received {count(clients)}."
    if server > clients:
        advice = "Others used the server, or it continued aborted replies. Run the test on an otherwise idle server."
    else:
        advice = "A cache in front of the model answered some requests, or the metrics cover one of several servers."
    return Finding(name, "fail", False, why, advice)


def outside_counter(evidence: Evidence, metrics: Metrics, counter: str) -> Bools:
    """Find replies that began before the counter was first read, or ended after it was last read.

    A sample has the time of the middle of its request; the server counted at some moment within it.
    """
    sent, end = numbers(evidence.replies, "sent"), numbers(evidence.replies, "end")
    engines = [series for series in metrics.get(counter, {}).values() if len(series.t)]
    if not engines:
        return np.ones(len(sent), dtype=np.bool_)
    either_side = float(np.nanmax(numbers(evidence.server, "width"), initial=0.0)) / 2
    first, last = max(s.t[0] for s in engines) + either_side, min(s.t[-1] for s in engines) - either_side
    outside: Bools = (sent < first) | (end > last)
    return outside


def _replies(evidence: Evidence, metrics: Metrics) -> Finding:
    """Compare the requests that the server finished with the replies that ended by themselves."""
    name: FindingName = "server_replies"
    server = total_rise(metrics, "requests_finished")
    finished = is_any(evidence.replies, "outcome", FINISHED)
    clients = int(finished.sum())
    one_choice = not (numbers(evidence.replies, "choices") > 1).any()
    if server is None or not clients or not one_choice:
        return Finding(name, "unproven", False, "Finished replies were not counted on both sides.")
    apart = abs(server - clients) - int((finished & outside_counter(evidence, metrics, "requests_finished")).sum())
    if apart <= MAX_REPLIES_APART or apart <= MAX_TOKEN_SHARE_APART * max(server, clients):
        why = f"Server and clients agree on the finished replies: {count(server)} and {clients:,}."
        return Finding(name, "pass", False, why)
    seen = things(clients, "finished reply", "finished replies")
    why = f"The server finished {things(round(server), 'request')}, its clients saw {seen}."
    if server > clients:
        advice = "Others used the server, or a proxy retries failed requests. Run the test on an otherwise idle server."
    else:
        advice = "A cache or another server answered some requests, or the metrics cover one of several servers."
    return Finding(name, "fail", False, why, advice)
