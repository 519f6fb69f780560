"""Everything that set-ups are asked, and the figures that answer it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from probe_ext.compare.capacity_measured import capacity_by_interval, capacity_by_replies
from probe_ext.compare.level_figures import divided, per_amount, quantiles, shares, throughput
from probe_ext.compare.measured import Measured, Scale, from_interval
from probe_ext.compare.replies import OVERALL, RunReplies
from probe_ext.compare.set_up import Run
from probe_ext.compare.values import Quantity
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.levels.visits import criteria_of


@dataclass(frozen=True)
class Kind:
    """One quantity."""

    scale: Scale
    more_is_better: bool


KINDS: Mapping[Quantity, Kind] = {
    "capacity": Kind("ratio", more_is_better=True),
    "served": Kind("difference", more_is_better=True),
    "first_word": Kind("difference", more_is_better=True),
    "typing": Kind("difference", more_is_better=True),
    "silence": Kind("difference", more_is_better=True),
    "answer": Kind("difference", more_is_better=True),
    "throughput": Kind("ratio", more_is_better=True),
    "ttft_p50": Kind("ratio", more_is_better=False),
    "ttft_p95": Kind("ratio", more_is_better=False),
    "decode_rate_p50": Kind("ratio", more_is_better=True),
    "longest_gap_p95": Kind("ratio", more_is_better=False),
    "cold_warm_ratio": Kind("ratio", more_is_better=False),
    "joules_per_1000_tokens": Kind("ratio", more_is_better=False),
    "cost_per_user_hour": Kind("ratio", more_is_better=False),
    "cost_per_million_tokens": Kind("ratio", more_is_better=False),
}
_QUANTILES: Mapping[Quantity, tuple[str, float]] = {
    "ttft_p50": ("ttft", 0.50),
    "ttft_p95": ("ttft", 0.95),
    "decode_rate_p50": ("decode_rate", 0.50),
    "longest_gap_p95": ("longest_gap", 0.95),
}
MILLION_TOKENS_PER_HOUR = 1e6 / 3600

Question = tuple[Quantity, int | None]
"""quantity, and the level"""
Answers = Mapping[Question, Measured]


def answers_of_replies(replies: RunReplies, profile: SloProfile, runs: Sequence[Run]) -> Answers:
    """Return everything that the replies of these runs of one set-up, put together, say."""
    return dict(_of_replies(replies, profile, runs))


def _of_replies(replies: RunReplies, profile: SloProfile, runs: Sequence[Run]) -> Iterator[tuple[Question, Measured]]:
    criteria, run = criteria_of(profile), runs[0]
    if has_kinds(run):  # the report's capacity is that of the kind that fails first, which all replies together hide
        yield from _capacity(capacity_of_reports(runs), run.price_per_hour)
    else:
        capacity = capacity_by_replies(replies.visits[OVERALL], criteria, replies.critical)
        yield from _capacity(capacity, run.price_per_hour)
    for name in ("served", "first_word", "typing", "silence", "answer"):
        yield from _at_levels(name, shares(replies.visits.get(name, ()), criteria.served_share))
    rates = throughput(replies.tokens)
    yield from _at_levels("throughput", rates)
    for quantity, (figure, q) in _QUANTILES.items():
        yield from _at_levels(quantity, quantiles(replies.samples[figure], q))
    yield from _at_levels("joules_per_1000_tokens", per_amount(rates, _watts(run.capacity, rates)))
    if run.price_per_hour:
        price = dict.fromkeys(rates, run.price_per_hour * MILLION_TOKENS_PER_HOUR)
        yield from _at_levels("cost_per_million_tokens", per_amount(rates, price))
    yield from _cold(run.capacity)


def answers_of_capacity(run: Run) -> Answers:
    """Return what a `capacity.json` alone says with an interval."""
    return dict(_of_capacity(run))


def _of_capacity(run: Run) -> Iterator[tuple[Question, Measured]]:
    yield from _capacity(capacity_of_reports([run]), run.price_per_hour)
    seen: set[int] = set()
    for level in run.capacity["levels"]:
        if level["users"] in seen or level["served_share_low"] is None or level["band"]:
            continue
        seen.add(level["users"])
        share, low, high = (level[f"served_share{end}"] for end in ("", "_low", "_high"))
        seconds = level["t_end"] - level["t_start"]
        yield ("served", level["users"]), from_interval(share, low, high, seconds, log=False)
    yield from _cold(run.capacity)


def has_kinds(run: Run) -> bool:
    """Return whether the run had several kinds of user, each of which must be served."""
    return any(kind["source"] == "workload" for kind in run.capacity.get("kinds", ()))


def capacity_of_reports(runs: Sequence[Run]) -> Measured | None:
    """Return the capacity by the runs' own reports: of several, the median within the hull of their intervals."""
    known = [run.capacity for run in runs if run.capacity["interval"] is not None]
    if not known:
        return None
    lows, highs = zip(*(capacity["interval"] for capacity in known), strict=True)
    return capacity_by_interval(
        float(median(map(_point_of_report, known))), min(lows), None if None in highs else max(highs)
    )


def _point_of_report(capacity: Mapping[str, Any]) -> int:
    served, guess = capacity["served_users"], capacity["suggestion"]
    point: int = served if served is not None else guess["users"] if guess else capacity["interval"][0]
    return point


def _capacity(capacity: Measured | None, price: float | None) -> Iterator[tuple[Question, Measured]]:
    if capacity is not None:
        yield ("capacity", None), capacity
        if price:
            yield ("cost_per_user_hour", None), divided(price, capacity)


def _at_levels(quantity: Quantity, by_users: Mapping[int, Measured]) -> Iterator[tuple[Question, Measured]]:
    for users, measured in by_users.items():
        yield (quantity, users), measured


def _watts(capacity: Mapping[str, Any], rates: Mapping[int, Measured]) -> dict[int, float]:
    """Return joules per second and thousandth of a token rate, so that divided by the rate it is energy per 1,000."""
    gpu = capacity.get("gpu") or {"by_level": ()}
    energy: dict[int, list[float]] = {}
    for level in gpu["by_level"]:
        if level["joules_per_1000_tokens"] is not None:
            energy.setdefault(level["users"], []).append(level["joules_per_1000_tokens"])
    return {users: sum(found) / len(found) * rates[users].point for users, found in energy.items() if users in rates}


def _cold(capacity: Mapping[str, Any]) -> Iterator[tuple[Question, Measured]]:
    gap = capacity["cold_user"]
    if gap.get("ratio") and gap.get("ratio_low") is not None:
        ends = gap["ratio_low"], gap.get("ratio_high")
        yield ("cold_warm_ratio", None), from_interval(gap["ratio"], *ends, 0.0, log=True)


def common(answers: Sequence[Answers]) -> list[Question]:
    """Return the questions that all of these answer, by quantity and level."""
    order = {quantity: i for i, quantity in enumerate(KINDS)}
    asked = set(answers[0]).intersection(*answers[1:]) if answers else set()
    return sorted(asked, key=lambda question: (order[question[0]], question[1] or 0))
