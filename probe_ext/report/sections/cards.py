"""Cards: for how many users each dimension alone is proven, with a small chart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.measure.outcome import Outcome
from probe_ext.report.charts.sparklines import Figure, sparkline, two_bars
from probe_ext.report.charts.svg import Plot
from probe_ext.report.wording.level_names import by_number
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import capitalised, things, unit
from probe_ext.verdict.wording.capacity_phrase import interval_text

ENOUGH_SERVED = 0.9  # share of a level's replies within a bound, from which on a person may be served
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
    users: Sequence[int] = ()
    """number of users of each point"""


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
    Outcome.NOT_SENT: "not sent, no free connection in time",
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
        Figure("95 % of replies waited no longer than this (p95)", "first_word_p95", formats.seconds, formats.bound),
    ),
    (
        "typing",
        "Typing speed",
        Figure(
            "95 % of replies typed at least this fast (p05)",
            "decode_rate_p05",
            _speed,
            formats.speed,
            more_is_better=True,
        ),
    ),
    (
        "silence",
        "Silent pauses",
        Figure(
            "95 % of replies had no silence longer than this (p95)", "longest_gap_p95", formats.seconds, formats.bound
        ),
    ),
)
"""Key, title and figure of each dimension that has a chart: what 95 % of replies kept, since a person needs most."""


def cards(capacity: Mapping[str, Any], profiles: Sequence[SloProfile]) -> list[Card]:
    """Return the cards in the order in which a user meets the dimensions. `profiles`: all that judged replies."""
    charted = [_card(*dimension, capacity, profiles) for dimension in DIMENSIONS]
    return [*charted, *_answers(capacity), _cold(capacity)]


def _card(key: str, title: str, figure: Figure, capacity: Mapping[str, Any], profiles: Sequence[SloProfile]) -> Card:
    bounds = {(one.served, one.strained) for profile in profiles if (one := getattr(profile, key)) is not None}
    levels = capacity["levels"]
    # Bounds are drawn where all kinds of user have the same.
    result = capacity["dimensions"].get(key)
    states = {one["users"]: one["state"] for one in result["levels"]} if result else {}
    plot = sparkline(levels, figure, next(iter(bounds)) if len(bounds) == 1 else None, states) if levels else None
    first = _is_first_limit(capacity, key)
    answer = _capacity(result, first=first) if bounds else "not judged by this profile"
    users = [visits[0]["users"] for visits in by_number(levels)]
    return Card(key, title, answer, plot, _interval(result) + capitalised(figure.name), first, users)


def _is_first_limit(capacity: Mapping[str, Any], key: str) -> bool:
    """Tell whether a dimension is the first limit, where some number of users is shown to be too many."""
    brackets = [capacity["bracket"], capacity.get("rate_bracket") or (None, None)]
    return capacity["breaks_first"] == key and any(failed is not None for _, failed in brackets)


def _capacity(result: Mapping[str, Any] | None, *, first: bool) -> str:
    """Return `proven up to 8 users, fails at 16`."""
    held, failed = result["bracket"] if result else (None, None)
    parts = [f"proven up to {things(held, 'user')}" if held is not None else "not proven"]
    parts += [f"fails at {things(failed, 'user')}"] if failed is not None else _seen_above(result)
    parts += ["first limit"] if first else []
    return ", ".join(parts)


def _seen_above(result: Mapping[str, Any] | None) -> list[str]:
    """Say that a dimension showed no limit at levels above the proven ones, if each kept enough replies served."""
    levels = result["levels"] if result else []
    known = [one for one in levels if one["state"] != "held"]
    if not known or any((one["served_share"] or 0.0) < ENOUGH_SERVED for one in known):
        return []
    return [f"no limit seen up to {formats.count(known[-1]['users'])}"]


def _interval(result: Mapping[str, Any] | None) -> str:
    """Return `By this alone, 95 %: 9 to 15 users`; empty where it was not seen to fail, so nothing bounds it."""
    if result is None or result["interval"] is None or result["bracket"][1] is None:
        return ""
    return f"By this alone, 95 %: {interval_text(tuple(result['interval']))} {unit(result['bracket'][1])}. "


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
    result, first = capacity["dimensions"].get("answer"), _is_first_limit(capacity, "answer")
    outcomes: Counter[str] = Counter()
    for level in capacity["levels"]:
        outcomes.update(level["outcomes"])
    failed = Counter({outcome: n for outcome, n in outcomes.items() if outcome not in _NOT_FAILED})
    if not failed and not first:
        return []
    named = [f"{formats.count(n)} {_failure(outcome)}" for outcome, n in failed.most_common(MAX_OUTCOMES)]
    total = things(outcomes.total(), "reply", "replies")
    caption = f"of {total} judged: {', '.join(named)}" if named else "complete answers came too late"
    return [Card("answer", "Complete answers", _capacity(result, first=first), None, caption, first)]


def _failure(outcome: str) -> str:
    return FAILURES.get(outcome, outcome.replace("_", " "))
