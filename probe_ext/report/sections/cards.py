"""The four questions as cards: how far each holds by itself, with a small picture of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from probe_ext.measure.outcome import Outcome
from probe_ext.report.charts.sparklines import Figure, question, two_bars
from probe_ext.report.charts.svg import Plot
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.values import formats


@dataclass(frozen=True)
class Card:
    """One question."""

    key: str
    """the term that defines its figure"""
    question: str
    answer: str
    plot: Plot | None
    caption: str
    first: bool
    """whether this is what broke first"""


ENDINGS: Mapping[str, str] = {
    Outcome.NO_ANSWER: "thought and gave no answer",
    Outcome.EMPTY: "ended without a token",
    Outcome.TRUNCATED: "broke off without a reason",
    Outcome.FILTERED: "withheld by the server",
    Outcome.REJECTED: "turned away as too busy",
    Outcome.HTTP_ERROR: "refused with an HTTP error",
    Outcome.STREAM_ERROR: "failed in mid-reply with an error",
    Outcome.BAD_DATA: "came as unreadable data",
    Outcome.CUT: "cut off in mid-reply",
    Outcome.STALLED: "stalled in mid-reply",
    Outcome.TIMEOUT_FIRST: "never began",
    Outcome.TIMEOUT_TOTAL: "took too long to end",
    Outcome.CONNECT_FAILED: "found no connection",
    Outcome.CONNECT_TIMEOUT: "waited too long for a connection",
    Outcome.HUNG_UP: "given up by an impatient user",
    Outcome.CLIENT_ERROR: "failed by the load generator's own fault",
}
"""how a reply failed, as one says it"""
_FINE = {Outcome.COMPLETE, Outcome.ENDED_BY_US}


def _speed(value: float | None) -> str:
    return f"{formats.rate(value)}/s"


ASKED = (
    (
        "first_word",
        "How long until the first word?",
        Figure(
            "19 of 20 replies waited at most so long (p95)",
            "first_word_p95",
            formats.seconds,
            formats.bound,
        ),
    ),
    (
        "typing",
        "How fast does it type?",
        Figure(
            "tokens a second that the middle reply gets (p50)",
            "decode_rate_p50",
            _speed,
            formats.speed,
            more_is_better=True,
        ),
    ),
    (
        "silence",
        "Does it fall silent?",
        Figure("the longest silence of any reply", "longest_gap_max", formats.seconds, formats.bound),
    ),
)


def cards(capacity: Mapping[str, Any], profile: SloProfile) -> list[Card]:
    """The four, in the order in which a user meets them."""
    return [*(_card(*asked, capacity, profile) for asked in ASKED), *_answers(capacity), _cold(capacity)]


def _card(key: str, asks: str, figure: Figure, capacity: Mapping[str, Any], profile: SloProfile) -> Card:
    bounds = getattr(profile, key)
    levels = capacity["levels"]
    plot = question(levels, figure, (bounds.served, bounds.strained) if bounds else None) if levels else None
    first = capacity["breaks_first"] == key
    answer = _holds(capacity["questions"].get(key), first=first) if bounds else "not judged by this profile"
    return Card(key, asks, answer, plot, figure.name, first)


def _holds(asked: Mapping[str, Any] | None, *, first: bool) -> str:
    users = asked["served_users"] if asked else None
    behind = ", breaks first" if first else ""
    if users is None:
        return f"not proven{behind}"
    return f"fine to {formats.count(users)}{behind}" if users else f"not even at the lowest level{behind}"


def _cold(capacity: Mapping[str, Any]) -> Card:
    found, asks = capacity["cold_user"], "What does a cold user wait?"
    how = str(found["how"]).removeprefix("Not measured. ").replace("`", "")
    if not found["measured"]:
        return Card("cold", asks, "not measured in this run", None, how, False)
    answer = f"{formats.seconds(found['cold_p50'])} cold, {formats.seconds(found['warm_p50'])} warm"
    plot = two_bars("median wait for the first word", [("cold", found["cold_p50"]), ("warm", found["warm_p50"])])
    if found["ratio"] is not None:
        answer += f": {_times(found)}"
    if found["served"] is not None:
        how = f"By its median wait, a cold user is {'served' if found['served'] else 'not served'}. {how}"
    return Card("cold", asks, answer, plot, how, False)


def _times(found: Mapping[str, Any]) -> str:
    """`16 × (12–19 ×)`."""
    low, high = found["ratio_low"], found["ratio_high"]
    between = f" ({formats.decimals(low)}–{formats.decimals(high)} ×)" if low is not None and high is not None else ""
    return f"{formats.decimals(found['ratio'])} ×{between}"


def _answers(capacity: Mapping[str, Any]) -> list[Card]:
    """A fifth card, where replies failed or the profile judges whole answers: else there is nothing to ask."""
    asked, first = capacity["questions"].get("answer"), capacity["breaks_first"] == "answer"
    ended: Counter[str] = Counter()
    for level in capacity["levels"]:
        ended.update(level["outcomes"])
    failed = {ENDINGS.get(how, how.replace("_", " ")): n for how, n in ended.items() if how not in _FINE}
    if not failed and not first:
        return []
    caption = ", ".join(f"{formats.count(n)} {how}" for how, n in sorted(failed.items(), key=lambda one: -one[1])[:5])
    of = f"of {formats.count(sum(ended.values()))} replies: {caption}" if caption else "whole answers came too late"
    return [Card("answer", "Does the whole answer come?", _holds(asked, first=first), None, of, first)]
