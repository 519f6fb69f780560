"""Facts of a run that the rules of the diagnosis work on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.checks.server_checks import outside_counter
from probe_ext.verdict.diagnosis.facts.drift import Drift, find_drift
from probe_ext.verdict.diagnosis.facts.kv_headroom import kv_headroom
from probe_ext.verdict.diagnosis.facts.level_load import Load, loads
from probe_ext.verdict.evidence.columns import Bools, Floats, in_parts, is_any, numbers, text_codes
from probe_ext.verdict.evidence.evidence import Columns, Evidence, quantile
from probe_ext.verdict.evidence.manifest_view import number, servers
from probe_ext.verdict.grading.held_back import bundling
from probe_ext.verdict.results.slo_metrics import token_windows
from probe_ext.verdict.server.others import counters_of_target
from probe_ext.verdict.server.server_series import Metrics, total_rise
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.ruling_types import KvHeadroom

AT_ONCE_S = 0.001
"""Time per token, outside the longest gap, that no model writes as fast as."""
MIN_COLLECTED_SHARE = 0.25
"""Of the time in which a reply arrives: from here on its tokens come in fewer than about four bursts."""
MIN_REPLY_S = 0.001
"""Lower bound of a reply's duration after the network time is subtracted."""


@dataclass(frozen=True)
class Totals:
    """The run's replies, counted by clients and server."""

    replies: int
    """completed replies"""
    client_tokens: float | None
    server_tokens: float | None
    uncounted_tokens: float
    """received in replies that lie partly outside the samples of that counter"""
    server_replies: float | None
    """requests that the server counted as finished"""
    lengths: Floats
    """tokens of each completed reply, where known"""
    reasons: Mapping[str, int]
    """number of completed replies by finish reason"""
    seconds: Floats
    """from sent to end of each reply in `lengths`, less one network round trip"""
    counted: Bools
    """whether the tokens of each were counted, and not only its events"""
    streamed: Bools
    at_once: Bools
    """whether nearly all tokens of each arrived at one moment, the first perhaps earlier"""
    in_bursts: Bools
    """whether each arrived in bursts, collected for a good part of the time in which it was written"""
    connect: float | None
    """median seconds to connect, one network round trip"""
    sent: int
    """requests of this run, however they ended"""
    asked: int | None
    """requested maximum of output tokens"""
    ignore_eos: bool
    """whether the model was told not to stop before that"""


@dataclass(frozen=True)
class Facts:
    """Everything the rules work on."""

    loads: tuple[Load, ...]
    """in order of rising users"""
    totals: Totals
    crowded: tuple[LevelResult, ...]
    """levels in which the server did too much for others"""
    findings: tuple[Finding, ...]
    engine: str
    """kind of server; empty where it is not known or mixed"""
    slots: int | None
    """configured number of concurrent replies, if the server reports it"""
    headroom: KvHeadroom
    drift: Drift | None
    """by the server's time per token where it is known"""
    client_drift: Drift | None
    reported: frozenset[str]
    """quantities of which the server's metrics have samples, at whatever time"""


def facts_of(
    evidence: Evidence,
    levels: Sequence[LevelResult],
    metrics: Metrics,
    findings: Sequence[Finding],
    served_share: float,
) -> Facts:
    """Collect the facts from a judged run; a level is served from `served_share` of its replies on."""
    known = servers(evidence.manifest)
    kinds = {str(server.get("kind") or "") for server in known}
    caches = [server.get("cache") for server in known]
    slots = [number(cache, "slots") for cache in caches if isinstance(cache, Mapping)]
    undisturbed = [level for level in levels if level.judged]
    measured, tokens = loads(evidence, levels, metrics, served_share), token_windows(evidence.windows)
    calm = measured if len(undisturbed) == len(levels) else loads(evidence, undisturbed, metrics, served_share)
    return Facts(
        loads=measured,
        totals=_totals(evidence, metrics),
        crowded=tuple(level for level in levels if not level.judged),
        findings=tuple(findings),
        engine=kinds.pop() if len(kinds) == 1 else "",
        slots=int(sum(count or 0 for count in slots)) or None,
        headroom=kv_headroom(evidence, calm, metrics),
        drift=find_drift(measured, metrics, tokens),
        client_drift=find_drift(measured, {}, tokens),
        reported=frozenset(metrics),
    )


def _totals(evidence: Evidence, metrics: Metrics) -> Totals:
    replies, counters = evidence.replies, counters_of_target(metrics, evidence.manifest)
    whole = is_any(replies, "outcome", {Outcome.COMPLETE})
    out = numbers(replies, "tokens_out")
    spent = numbers(replies, "end") - numbers(replies, "sent")
    known = whole & ~np.isnan(out) & ~np.isnan(spent)
    asked, ignore_eos = _requested(evidence)
    connect = quantile(numbers(replies, "connect"), 0.5)
    one_choice = not (numbers(replies, "choices") > 1).any()
    return Totals(
        replies=int(whole.sum()),
        client_tokens=None if np.isnan(out).all() else float(np.nansum(out)),
        server_tokens=total_rise(counters, "generation_tokens"),
        uncounted_tokens=float(np.nansum(out[outside_counter(evidence, counters, "generation_tokens")])),
        server_replies=total_rise(counters, "requests_finished") if one_choice else None,
        lengths=out[known],
        reasons=_reasons(replies, whole),
        seconds=np.maximum(spent[known] - (connect or 0.0), MIN_REPLY_S),
        counted=~is_any(replies, "tokens_from", {"events"})[known],
        streamed=np.asarray(replies.get("streamed", np.ones(len(out), dtype=np.bool_)), dtype=np.bool_)[known],
        at_once=in_parts(replies, _at_once)[known],
        in_bursts=in_parts(replies, _in_bursts)[known],
        connect=connect,
        sent=len(out),
        asked=asked,
        ignore_eos=ignore_eos,
    )


def _at_once(replies: Columns) -> Bools:
    first, last = numbers(replies, "first"), numbers(replies, "last")
    flowing = last - first - np.nan_to_num(numbers(replies, "longest_gap"))
    return np.asarray(flowing <= AT_ONCE_S * np.maximum(numbers(replies, "tokens_out") - 2, 1), dtype=np.bool_)


def _in_bursts(replies: Columns) -> Bools:
    span = numbers(replies, "last") - numbers(replies, "first")
    collected: Bools = numbers(replies, "held_max") >= MIN_COLLECTED_SHARE * span
    return bundling(replies).bundled & collected


def _requested(evidence: Evidence) -> tuple[int | None, bool]:
    options = evidence.manifest.get("options")
    if not isinstance(options, Mapping):
        return None, False
    asked = None if evidence.manifest.get("workload") else number(options, "max_tokens")  # kinds differ
    return None if asked is None else int(asked), options.get("ignore_eos") is True


def _reasons(replies: Columns, whole: Bools) -> dict[str, int]:
    code, names = text_codes(replies, "finish_reason")
    counts = np.bincount(code[whole], minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}
