"""Cards: how many users each dimension allows on its own, with a small chart."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from probe_ext.measure.outcome import Outcome
from probe_ext.report.charts.sparklines import Figure, sparkline, two_bars
from probe_ext.report.charts.svg import Plot
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.values import formats
from probe_ext.verdict.values.plurals import things

MAX_OUTCOMES = 5
"""Outcomes of failed replies that are listed."""


@dataclass(frozen=True)
class Card:
    """One dimension."""

    key: str
    """term that defines its figure"""
    title: str
    answer: str
    plot: Plot | None
    caption: str
    is_first_limit: bool


FAILURES: Mapping[str, str] = {
    Outcome.NO_ANSWER: "reasoning without an answer",
    Outcome.EMPTY: "without a token",
    Outcome.TRUNCATED: "ended without a finish reason",
    Outcome.FILTERED: "filtered by the server",
    Outcome.REJECTED: "rejected as overloaded",
    Outcome.HTTP_ERROR: "HTTP error",
    Outcome.STREAM_ERROR: "error in mid-stream",
    Outcome.BAD_DATA: "unreadable data",
    Outcome.CUT: "connection lost in mid-stream",
    Outcome.STALLED: "stalled in mid-stream",
    Outcome.TIMEOUT_FIRST: "timeout before the first token",
    Outcome.TIMEOUT_TOTAL: "total timeout",
    Outcome.CONNECT_FAILED: "connection failed",
    Outcome.CONNECT_TIMEOUT: "connection timeout",
    Outcome.HUNG_UP: "aborted by an impatient user",
    Outcome.CLIENT_ERROR: "fault of the load generator",
}
"""Label of each outcome of a failed reply."""
_NOT_FAILED = {Outcome.COMPLETE, Outcome.ENDED_BY_US}


def _speed(value: float | None) -> str:
    return f"{formats.rate(value)}/s"


DIMENSIONS = (
    (
        "first_word",
        "Wait for the first word",
        Figure("95 % of replies waited no longer (p95)", "first_word_p95", formats.seconds, formats.bound),
    ),
    (
        "typing",
        "Typing speed",
        Figure("median tokens/s per reply", "decode_rate_p50", _speed, formats.speed, more_is_better=True),
    ),
    (
        "silence",
        "Silent pauses",
        Figure("longest silence of any reply", "longest_gap_max", formats.seconds, formats.bound),
    ),
)
"""Key, title and figure of each dimension that has a chart."""


def cards(capacity: Mapping[str, Any], profile: SloProfile) -> list[Card]:
    """Return the cards in the order in which a user meets the dimensions."""
    charted = [_card(*dimension, capacity, profile) for dimension in DIMENSIONS]
    return [*charted, *_answers(capacity), _cold(capacity)]


def _card(key: str, title: str, figure: Figure, capacity: Mapping[str, Any], profile: SloProfile) -> Card:
    bounds = getattr(profile, key)
    levels = capacity["levels"]
    plot = sparkline(levels, figure, (bounds.served, bounds.strained) if bounds else None) if levels else None
    first = capacity["breaks_first"] == key
    answer = _capacity(capacity["dimensions"].get(key), first=first) if bounds else "not judged by this profile"
    return Card(key, title, answer, plot, figure.name, first)


def _capacity(result: Mapping[str, Any] | None, *, first: bool) -> str:
    users = result["served_users"] if result else None
    limit = ", first limit" if first else ""
    if users is None:
        return f"not proven{limit}"
    return f"OK up to {things(users, 'user')}{limit}" if users else f"fails at the lowest level{limit}"


def _cold(capacity: Mapping[str, Any]) -> Card:
    gap, title = capacity["cold_user"], "Cold users"
    how = str(gap["how"]).removeprefix("Not measured. ").replace("`", "")
    if not gap["measured"]:
        return Card("cold", title, "not measured in this run", None, how, False)
    answer = f"{formats.seconds(gap['cold_p50'])} cold, {formats.seconds(gap['warm_p50'])} warm"
    plot = two_bars("median wait for the first word", [("cold", gap["cold_p50"]), ("warm", gap["warm_p50"])])
    if gap["ratio"] is not None:
        answer += f": {_ratio(gap)}"
    if gap["served"] is not None:
        how = f"By the median wait, cold users are {'served' if gap['served'] else 'not served'}. {how}"
    return Card("cold", title, answer, plot, how, False)


def _ratio(gap: Mapping[str, Any]) -> str:
    """Return `16 × (12–19 ×)`."""
    low, high = gap["ratio_low"], gap["ratio_high"]
    interval = f" ({formats.decimals(low)}–{formats.decimals(high)} ×)" if low is not None and high is not None else ""
    return f"{formats.decimals(gap['ratio'])} ×{interval}"


def _answers(capacity: Mapping[str, Any]) -> list[Card]:
    """Return a card if replies failed or the profile judges complete answers."""
    result, first = capacity["dimensions"].get("answer"), capacity["breaks_first"] == "answer"
    outcomes: Counter[str] = Counter()
    for level in capacity["levels"]:
        outcomes.update(level["outcomes"])
    failed = Counter({outcome: n for outcome, n in outcomes.items() if outcome not in _NOT_FAILED})
    if not failed and not first:
        return []
    named = [f"{formats.count(n)} {_failure(outcome)}" for outcome, n in failed.most_common(MAX_OUTCOMES)]
    total = things(outcomes.total(), "reply", "replies")
    caption = f"of {total}: {', '.join(named)}" if named else "complete answers came too late"
    return [Card("answer", "Complete answers", _capacity(result, first=first), None, caption, first)]


def _failure(outcome: str) -> str:
    return FAILURES.get(outcome, outcome.replace("_", " "))
