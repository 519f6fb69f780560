"""What limits the server, and the headroom of its KV cache."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import capitalised, things

TITLES = {
    "client_too_slow": "The load generator could not keep up",
    "other_load": "The server had other load as well",
    "response_cache": "Answers come from a response cache",
    "cut_answers": "Answers are cut short",
    "buffered_stream": "Tokens are held back and arrive in pieces",
    "quota": "Requests beyond a limit are rejected",
    "gateway": "A gateway holds requests back in front of the server",
    "slow_path": "The path to the server is slow",
    "throttling": "The server slows down over time",
    "uneven_balancer": "The load balancer is uneven",
    "slow_replica": "One engine is slower than the others",
    "serialised": "Requests are processed one at a time",
    "batch_limit": "The batch size is limited",
    "memory_wall": "The KV cache is full",
    "prefill_bound": "Prefill takes up the server's time",
    "ceiling": "The hardware's throughput is used up",
    "throughput_limit": "Throughput no longer grows",
    "shared_cpu": "The CPU that server and load generator share may be short",
    "not_loaded": "No limit reached yet",
}
"""Title of each rule where it holds."""
_KINDS = {
    "holds": ("warn", "!", "holds"),
    "unknown": ("open", "?", "not known"),
    "absent": ("good", "–", "ruled out"),
}
_TITLE_PREFIXES = {"holds": "", "unknown": "Unknown: ", "absent": "Ruled out: "}
_FORMATS = {"fraction": formats.percent, "seconds": formats.seconds}
_SINGULARS = {
    "replies": "reply",
    "requests": "request",
    "checks": "check",
    "tokens": "token",
}
_TOKEN_ROWS = (
    ("prompt", "prompt_tokens"),
    ("shared by all prompts", "shared_tokens"),
    ("answer", "reply_tokens"),
    ("held when a reply ends", "resident_tokens"),
)
_PROMPTS = {"distinct": "separate prompts", "shared": "common prefix shared"}


@dataclass(frozen=True)
class Limit:
    """One rule with its result."""

    state: str
    kind: str
    """CSS class of its card"""
    sign: str
    label: str
    """the state in words"""
    title: str
    rule: str
    """its name, with the number of users and the confidence"""
    why: str
    advice: str
    confidence_from: str
    """reason for the confidence; empty where there is none"""
    figures: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Limits:
    """The section."""

    sentence: str
    holds: Sequence[Limit]
    others: Sequence[Limit]
    """unknown ones, then those ruled out"""
    others_summary: str
    headroom: str
    """a sentence; empty where nothing is known"""
    forecast_heads: Sequence[str]
    forecast_rows: Sequence[Sequence[str]]
    """saturation by arithmetic and as measured"""


def limits(capacity: Mapping[str, Any]) -> Limits:
    """Return the rules that hold, in the order of the diagnosis, and the others to be folded."""
    diagnosis, headroom = capacity["diagnosis"], capacity["kv_headroom"]
    rules = [_limit(ruling) for ruling in diagnosis["rules"]]
    unknown = [rule for rule in rules if rule.state == "unknown"]
    absent = [rule for rule in rules if rule.state == "absent"]
    known = headroom["users"] is not None or headroom["saturation"][1] is not None or headroom["forecasts"]
    unknown_count = [f"{len(unknown)} not known"] if unknown else []
    return Limits(
        sentence=diagnosis["sentence"],
        holds=[rule for rule in rules if rule.state == "holds"],
        others=[*unknown, *absent],
        others_summary=", ".join([f"{things(len(absent), 'limit')} ruled out", *unknown_count]),
        headroom=headroom["sentence"] if known else "",
        forecast_heads=[_PROMPTS[forecast["prompts"]] for forecast in headroom["forecasts"]],
        forecast_rows=_forecast_rows(headroom),
    )


def _limit(ruling: Mapping[str, Any]) -> Limit:
    kind, sign, label = _KINDS[ruling["state"]]
    if (ruling["rule"], ruling["state"]) == ("not_loaded", "holds"):
        kind, sign = "good", "✓"
    since = f"from {things(ruling['from_users'], 'user')} on" if ruling["from_users"] else ""
    confidence = f"{ruling['confidence']} confidence" if ruling["confidence"] else ""
    needs = f"Needed to find out: {ruling['needs']}." if ruling["needs"] else ""
    return Limit(
        state=ruling["state"],
        kind=kind,
        sign=sign,
        label=label,
        title=_title(ruling["rule"], _TITLE_PREFIXES[ruling["state"]]),
        rule=" · ".join(filter(None, [ruling["rule"].replace("_", " "), since, confidence])),
        why=_rules_by_title(ruling["why"]),
        advice=ruling["advice"] or needs,
        confidence_from=capitalised(ruling["confidence_from"]),
        figures=[(fact["name"], figure(fact["value"], fact["unit"])) for fact in ruling["evidence"]],
    )


def _title(rule: str, prefix: str) -> str:
    title = TITLES[rule]
    return prefix + title[:1].lower() + title[1:] if prefix else title


def _rules_by_title(why: str) -> str:
    """Replace names of rules by their titles."""
    return re.sub(r"`(\w+)`", lambda name: f"“{TITLES.get(name[1], name[1])}”", why)


def figure(value: float | None, unit: str) -> str:
    """Return `97 %`, `0.3 s`, `4 replies`, `217 tokens/s`, `1.9`."""
    if unit in _FORMATS:
        return _FORMATS[unit](value)
    number = formats.count(value) if value is not None and value == round(value) else formats.rate(value)
    return f"{number} {_SINGULARS.get(unit, unit) if value == 1 else unit}".rstrip()


def _forecast_rows(headroom: Mapping[str, Any]) -> list[list[str]]:
    """One row per quantity and one column per forecast, so that the table fits a phone."""
    forecasts = headroom["forecasts"]
    if not forecasts:
        return []
    rows = [[name, *(formats.count(forecast[key]) for forecast in forecasts)] for name, key in _TOKEN_ROWS]
    rows.append(["users that fit", *(_range(forecast["users_low"], forecast["users_high"]) for forecast in forecasts)])
    return [*rows, ["measured in this run", *[_measured(*headroom["saturation"])] * len(forecasts)]]


def _range(low: int, high: int) -> str:
    return formats.count(low) if low == high else f"{formats.count(low)} to {formats.count(high)}"


def _measured(below: int | None, saturated: int | None) -> str:
    if saturated is None:
        return "not known" if below is None else f"none up to {formats.count(below)}"
    return f"{formats.count(saturated)} or fewer" if below is None else _range(below + 1, saturated)
