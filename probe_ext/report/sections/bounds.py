"""What bounds the server, and where its KV cache runs full, as a reader meets it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.verdict.values import formats
from probe_ext.verdict.values.plurals import people, things

TITLES = {
    "client_too_slow": "The load generator could not keep up",
    "response_cache": "Answers come from a response cache",
    "cut_answers": "Answers are cut short",
    "serialised": "Replies are served one at a time",
    "batch_limit": "The number of replies at once is limited",
    "memory_wall": "The KV cache is full",
    "prefill_bound": "Reading prompts takes up the machine",
    "ceiling": "The machine gives all it has",
    "not_loaded": "Nothing bounds it yet",
}
"""every rule, as it is called where it holds"""
_KINDS = {"holds": ("warn", "!", "holds"), "unknown": ("open", "?", "not known"), "absent": ("good", "–", "not so")}
_BEFORE = {"holds": "", "unknown": "Not known whether ", "absent": "Ruled out: "}
_SAY = {"fraction": formats.percent, "seconds": formats.seconds}


_ONE = {"replies": "reply", "checks": "check", "events": "event", "tokens": "token"}
_TOKENS = (
    ("a prompt", "prompt_tokens"),
    ("of it held once for all", "shared_tokens"),
    ("an answer", "reply_tokens"),
    ("held when it ends", "resident_tokens"),
)
_PROMPTS = {"distinct": "each prompt by itself", "shared": "beginnings shared"}


@dataclass(frozen=True)
class Bound:
    """One rule with what it found."""

    kind: str
    """the class of its card"""
    sign: str
    said: str
    """the state in words"""
    title: str
    rule: str
    """its name, with since when and how sure"""
    why: str
    advice: str
    sure: str
    """how the confidence was reached; empty where there is none"""
    figures: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Bounds:
    """The section."""

    sentence: str
    holds: Sequence[Bound]
    others: Sequence[Bound]
    """not known, then not so"""
    others_say: str
    edge: str
    """a sentence; empty where nothing is known"""
    heads: Sequence[str]
    forecasts: Sequence[Sequence[str]]
    """rows of the table of the wall: by arithmetic and as measured"""


def bounds(capacity: Mapping[str, Any]) -> Bounds:
    """Rules that hold in the order of the diagnosis, the others folded."""
    said, edge = capacity["diagnosis"], capacity["edge"]
    rulings = [_bound(ruling) for ruling in said["rules"]]
    unknown = [one for one in rulings if one.kind == "open"]
    clear = [one for one in rulings if one.kind == "good" and one.said == "not so"]
    told = edge["users"] is not None or edge["wall"][1] is not None or edge["forecasts"]
    return Bounds(
        sentence=said["sentence"],
        holds=[one for one in rulings if one.said == "holds"],
        others=[*unknown, *clear],
        others_say=", ".join(
            [f"{things(len(clear), 'bound')} ruled out", *([f"{len(unknown)} not known"] if unknown else [])]
        ),
        edge=edge["sentence"] if told else "",
        heads=[_PROMPTS[one["prompts"]] for one in edge["forecasts"]],
        forecasts=_wall(edge),
    )


def _bound(ruling: Mapping[str, Any]) -> Bound:
    kind, sign, said = _KINDS[ruling["state"]]
    if (ruling["rule"], ruling["state"]) == ("not_loaded", "holds"):
        kind, sign = "good", "✓"
    since = f"from {people(ruling['from_users'])} on" if ruling["from_users"] else ""
    sure = f"{ruling['confidence']} confidence" if ruling["confidence"] else ""
    needs = f"To know, it takes {ruling['needs']}." if ruling["needs"] else ""
    return Bound(
        kind=kind,
        sign=sign,
        said=said,
        title=_title(ruling["rule"], _BEFORE[ruling["state"]]),
        rule=" · ".join(filter(None, [ruling["rule"].replace("_", " "), since, sure])),
        why=_named(ruling["why"]),
        advice=ruling["advice"] or needs,
        sure=ruling["confidence_from"],
        figures=[(fact["name"], figure(fact["value"], fact["unit"])) for fact in ruling["evidence"]],
    )


def _title(rule: str, before: str) -> str:
    title = TITLES[rule]
    return before + title[:1].lower() + title[1:] if before else title


def _named(why: str) -> str:
    """Other rules by their titles."""
    return re.sub(r"`(\w+)`", lambda found: f"“{TITLES.get(found[1], found[1])}”", why)


def figure(value: float | None, unit: str) -> str:
    """`97 %`, `0.3 s`, `4 replies`, `217 tokens/s`, `1.9`."""
    if unit in _SAY:
        return _SAY[unit](value)
    said = formats.count(value) if value is not None and value == round(value) else formats.rate(value)
    return f"{said} {_ONE.get(unit, unit) if value == 1 else unit}".rstrip()


def _wall(edge: Mapping[str, Any]) -> list[list[str]]:
    """A row a quantity, a column a forecast: so it fits a phone, and the measured wall stands below the forecast."""
    of = edge["forecasts"]
    if not of:
        return []
    rows = [[name, *(formats.count(one[key]) for one in of)] for name, key in _TOKENS]
    rows.append(["people who fit", *(_between(one["users_low"], one["users_high"]) for one in of)])
    return [*rows, ["met in this run at", *[_measured(*edge["wall"])] * len(of)]]


def _between(low: int, high: int) -> str:
    return formats.count(low) if low == high else f"{formats.count(low)} to {formats.count(high)}"


def _measured(below: int | None, walled: int | None) -> str:
    if walled is None:
        return "not known" if below is None else f"none up to {formats.count(below)}"
    return f"{formats.count(walled)} or fewer" if below is None else _between(below + 1, walled)
