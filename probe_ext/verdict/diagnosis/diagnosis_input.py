"""All that the rules of the diagnosis go by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.diagnosis.level_load import Load, loads
from probe_ext.verdict.server.server_series import Metrics, total_rise
from probe_ext.verdict.values.columns import Bools, Floats, coded, numbers, texts
from probe_ext.verdict.values.evidence import Columns, Evidence, quantile
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.manifest_view import number, servers

SHORTEST = 0.001
"""seconds: no answer is taken to be quicker, whatever is taken off for the way"""


@dataclass(frozen=True)
class Totals:
    """The run's answers, counted on both sides."""

    replies: int
    """that came to their own end"""
    client_tokens: float | None
    server_tokens: float | None
    server_replies: float | None
    """that the server says it finished"""
    lengths: Floats
    """tokens of each of these replies, where known"""
    reasons: Mapping[str, int]
    """of their ending"""
    seconds: Floats
    """from sending to the end, of each in `lengths`, less the way there and back"""
    asked: int | None
    """the most tokens of an answer that were asked for"""
    to_the_end: bool
    """whether the model was told not to stop before that"""


@dataclass(frozen=True)
class Facts:
    """All that the rules go by."""

    loads: tuple[Load, ...]
    """by rising number of users"""
    totals: Totals
    findings: tuple[Finding, ...]
    engine: str
    """kind of the server; empty where it is not known"""
    slots: int | None
    """replies at once that the server says it is set to"""


def facts_of(evidence: Evidence, levels: Sequence[LevelResult], metrics: Metrics, findings: Sequence[Finding]) -> Facts:
    """What the rules go by, out of a judged run."""
    known = servers(evidence.manifest)
    kinds = {str(one.get("kind") or "") for one in known}
    caches = [one.get("cache") for one in known]
    slots = [number(cache, "slots") for cache in caches if isinstance(cache, Mapping)]
    return Facts(
        loads=loads(evidence, levels, metrics),
        totals=_totals(evidence, metrics),
        findings=tuple(findings),
        engine=kinds.pop() if len(kinds) == 1 else "",
        slots=int(sum(one or 0 for one in slots)) or None,
    )


def _totals(evidence: Evidence, metrics: Metrics) -> Totals:
    replies = evidence.replies
    whole = np.array([outcome == Outcome.COMPLETE for outcome in texts(replies, "outcome")], dtype=np.bool_)
    out = numbers(replies, "tokens_out")
    spent = numbers(replies, "end") - numbers(replies, "sent")
    known = whole & ~np.isnan(out) & ~np.isnan(spent)
    asked, to_the_end = _asked(evidence)
    return Totals(
        replies=int(whole.sum()),
        client_tokens=None if np.isnan(out).all() else float(np.nansum(out)),
        server_tokens=total_rise(metrics, "generation_tokens"),
        server_replies=total_rise(metrics, "requests_finished"),
        lengths=out[known],
        reasons=_reasons(replies, whole),
        seconds=np.maximum(spent[known] - (quantile(numbers(replies, "connect"), 0.5) or 0.0), SHORTEST),
        asked=asked,
        to_the_end=to_the_end,
    )


def _asked(evidence: Evidence) -> tuple[int | None, bool]:
    options = evidence.manifest.get("options")
    if not isinstance(options, Mapping):
        return None, False
    asked = number(options, "max_tokens")
    return None if asked is None else int(asked), options.get("ignore_eos") is True


def _reasons(replies: Columns, whole: Bools) -> dict[str, int]:
    code, names = coded(texts(replies, "finish_reason"))
    counts = np.bincount(code[whole], minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}
