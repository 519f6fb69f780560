"""Compare two to ten set-ups, each with the first.

A wrong *better* has a chance of at most ERROR, and a wrong *worse* the same: for capacity, shared equally among the
set-ups; and for all other questions together, shared equally among them (Bonferroni). A share of which no reply fell
short anywhere can't come out as a difference, so it takes no part of the error (R. E. Tarone, Biometrics 46 (1990)
515–522). The limits that are shown are those at each question's own part, so limits and outcome can't disagree.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.compare.comparison_sentence import comparison_sentence
from probe_ext.compare.measured import MAX_MINUTES, Contrast, Measured, contrast
from probe_ext.compare.questions import (
    KINDS,
    Answers,
    Question,
    answers_of_capacity,
    answers_of_replies,
    capacity_of_reports,
    common,
    has_kinds,
)
from probe_ext.compare.repeated_runs import widened
from probe_ext.compare.replies import OVERALL, joined
from probe_ext.compare.set_up import Run, SetUp
from probe_ext.compare.set_up_aspects import WAIVABLE, meant, must_be_equal, not_checked, other_worker_counts
from probe_ext.compare.values import Aspects, Comparison, Level, Outcome, Quantity, Reason, Row, SetUpResult
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.levels.visits import criteria_of
from probe_ext.verdict.phrasing.plurals import Who
from probe_ext.verdict.values.json_types import Bracket, Interval

ERROR = 0.025
MAX_LOG_RATIO = 13.0
"""beyond this, a limit is none"""
TEN_PERCENT = math.log(1.1)
SMALL_DIFFERENCE = 0.05
"""of two shares; of ratios it is TEN_PERCENT: limits within this show that any difference is small"""
GAP = 0.05
"""logarithm: a capacity that more replies at the same levels would leave as open as this"""


@dataclass(frozen=True)
class Answered:
    """What a set-up's runs answer: together, and each run alone."""

    set_up: SetUp
    together: Answers
    each: Sequence[Answers]


def compare(set_ups: Sequence[SetUp], waived: Collection[str] = (), looks: int = 1) -> Comparison:
    """Return what is better, worse or can't be told.

    `waived`: aspects of WAIVABLE that are meant to differ. `looks`: how many looks at growing data share the error.
    """
    different = must_be_equal(set_ups)
    allowed = [one for one in different if one.aspect in waived and one.aspect in WAIVABLE]
    refused = [one for one in different if one not in allowed]
    answered = [answer(set_up) for set_up in set_ups]
    rows, spread_known, minutes = _rows(answered, ERROR / looks, refused=bool(refused))
    results = tuple(_result(set_up) for set_up in set_ups)
    winner, who = _winner(set_ups, rows), _who(set_ups)
    return Comparison(
        sentence=comparison_sentence([set_up.name for set_up in set_ups], rows, refused, who),
        winner=winner,
        who=who,
        set_ups=results,
        meant=(
            *meant(set_ups),
            *other_worker_counts(set_ups),
            *(Aspects(one.aspect, one.name, one.values) for one in allowed),
        ),
        must_be_equal=tuple(refused),
        not_checked=tuple(not_checked(set_ups, waived)),
        between_runs=spread_known,
        error=ERROR,
        questions=sum(_can_differ((row.quantity, row.users), answered) for row in rows),
        minutes_for_ten_percent=minutes,
        rows=tuple(rows),
    )


def _who(set_ups: Sequence[SetUp]) -> Who:
    called = {run.capacity.get("who") for set_up in set_ups for run in set_up.runs}
    return "agents" if called == {"agents"} else "people"


def answer(set_up: SetUp) -> Answered:
    """Answer every question from all runs of a set-up together, and from each."""
    replies, first = set_up.replies, set_up.runs[0]
    if not replies or first.profile is None:
        each = [answers_of_capacity(run) for run in set_up.runs]
        return Answered(set_up, each[0], each)
    each = [answers_of_replies(run.replies, first.profile, [run]) for run in set_up.runs if run.replies is not None]
    together = answers_of_replies(joined(replies), first.profile, set_up.runs) if len(replies) > 1 else each[0]
    return Answered(set_up, together, each)


def _rows(answered: Sequence[Answered], allowed: float, *, refused: bool) -> tuple[list[Row], bool, float | None]:
    asked = common([one.together for one in answered])
    others = (len(answered) - 1) * sum(_can_differ(question, answered) for question in asked)
    rows, spread_known, minutes = [], False, None
    for question in asked:
        scale = KINDS[question[0]].scale
        figures, known = widened(
            [one.together[question] for one in answered],
            [[each[question] for each in one.each if question in each] for one in answered],
            scale,
        )
        spread_known |= known
        error = allowed / (len(answered) - 1 if question[0] == "capacity" else max(1, others))
        for one, figure in zip(answered[1:], figures[1:], strict=True):
            found = contrast(figures[0], figure, scale, error)
            doubt = _doubt(question, [answered[0].set_up, one.set_up])
            rows.append(_row(question, one.set_up.name, (figures[0], figure), found, error, doubt, refused=refused))
            if question[0] == "capacity" and minutes is None:
                minutes = _minutes_for_ten_percent(found, figures[0], figure, error)
    return rows, spread_known, minutes


def _can_differ(question: Question, answered: Sequence[Answered]) -> bool:
    """Return whether a question takes part of the error that all but capacity share."""
    if question[0] == "capacity":
        return False
    return KINDS[question[0]].scale == "ratio" or any(one.together[question].point < 1 for one in answered)


def _row(
    question: Question, name: str, figures: tuple[Measured, Measured], found: Contrast, error: float, doubt: Reason,
    *, refused: bool,
) -> Row:  # fmt: skip
    quantity, users = question
    kind = KINDS[quantity]
    base, other = figures
    sign = 0 if doubt else found.sign if kind.more_is_better else -found.sign
    outcome: Outcome = "no_verdict" if refused else "better" if sign > 0 else "worse" if sign < 0 else "cannot_tell"
    seconds = base.seconds + other.seconds
    effect = _effect(found, base, other, kind.scale)
    more = None
    if outcome == "cannot_tell" and not doubt:
        whole = _minutes(found, effect, error, seconds)
        more = None if whole is None else max(1.0, whole - seconds / 60)
    elif doubt and not refused and quantity == "capacity" and found.sign and seconds:
        more = seconds / 60  # replies would tell: another measurement shows if chance made the server seem to change
    reason = doubt or (_reason(quantity, found, figures, more) if outcome == "cannot_tell" else "")
    low, high = (_back(end, kind.scale) for end in (found.low, found.high))
    usable = kind.scale == "difference" or min(base.point, other.point) >= max(base.floor, other.floor)
    change = other.point - base.point if kind.scale == "difference" else other.point / base.point if usable else None
    return Row(
        quantity, users, name, base.point, other.point, kind.scale, change,
        low if usable else None, high if usable else None, outcome, reason, more,
    )  # fmt: skip


def _effect(found: Contrast, base: Measured, other: Measured, scale: str) -> float:
    """Return the difference that is to be told: of a gap between levels, its smallest."""
    if found.inner[0] > 0:
        return found.inner[0]
    if found.inner[1] < 0:
        return found.inner[1]
    return 0.0 if scale == "ratio" or found.inner[0] < found.inner[1] else other.point - base.point


def _minutes_for_ten_percent(found: Contrast, base: Measured, other: Measured, error: float) -> float | None:
    """Return the measured time that tells 10 % or one person, beyond what the gaps between levels leave open."""
    wanted = max(TEN_PERCENT, math.log1p(1 / max(1.0, base.point)))
    left = wanted - (found.inner[1] - found.inner[0]) / 2
    seconds = base.seconds + other.seconds
    if left <= 0 or not math.isfinite(left):
        return None
    return _minutes(found, left, error, seconds) or None


def _minutes(found: Contrast, effect: float, error: float, seconds: float) -> float | None:
    """Return the measured time after which this difference would be told; None where more of the same won't tell."""
    factor = found.time_factor(effect, error)
    if factor is None or not seconds:
        return None
    minutes = factor * seconds / 60
    return minutes if minutes <= MAX_MINUTES else None


def _reason(quantity: Quantity, found: Contrast, figures: Sequence[Measured], more: float | None) -> Reason:
    if not all(figure.noise_known for figure in figures):
        return "no_noise_known"
    if more is not None:
        return "too_few"
    if quantity == "capacity" and all(math.isinf(figure.limits(ERROR)[1]) for figure in figures):
        return "no_limit_reached"
    known_by_replies = all(figure.seconds for figure in figures)
    if not found.bounded or (quantity == "capacity" and not known_by_replies):
        return "too_few"
    wide = found.inner[1] - found.inner[0] > GAP
    if wide and found.inner[0] <= 0 <= found.inner[1]:
        return "gap_between_levels"
    small = SMALL_DIFFERENCE if KINDS[quantity].scale == "difference" else TEN_PERCENT
    return "too_close" if max(-found.low, found.high) <= small else "too_few"


def _doubt(question: Question, set_ups: Sequence[SetUp]) -> Reason:
    """Return why a figure is not that of one unchanging server: in one of many runs, chance may look like a change."""
    for set_up in set_ups:
        changed = [{*run.capacity["drift"], *run.capacity["contradictions"]} for run in set_up.runs]
        here = [one for one in changed if one and (question[1] is None or question[1] in one)]
        if here and 2 * len(here) >= len(changed):
            return "server_changed"
    return ""


def _back(value: float, scale: str) -> float | None:
    """Return a limit on its own scale; None where there is none."""
    if math.isinf(value):
        return None
    if scale == "difference":  # of two shares
        return max(-1.0, min(1.0, value))
    return None if abs(value) > MAX_LOG_RATIO else math.exp(value)


def _winner(set_ups: Sequence[SetUp], rows: Sequence[Row]) -> str | None:
    """Return the set-up that is proven to serve more people than every other: only the first is compared with all."""
    capacity = [row for row in rows if row.quantity == "capacity"]
    if len(capacity) == len(set_ups) - 1 and all(row.outcome == "worse" for row in capacity):
        return set_ups[0].name
    if len(set_ups) == 2 and capacity and capacity[0].outcome == "better":
        return set_ups[1].name
    return None


def _result(set_up: SetUp) -> SetUpResult:
    first: Mapping[str, Any] = set_up.runs[0].capacity
    served, interval, bracket = first["served_users"], first["interval"], first["bracket"]
    replies, profile = set_up.replies, set_up.runs[0].profile
    if has_kinds(set_up.runs[0]):
        served, interval, bracket = _by_reports(set_up.runs)
    if len(replies) > 1 and profile is not None and not has_kinds(set_up.runs[0]):
        whole = joined(replies)
        found = estimate(whole.visits[OVERALL], criteria_of(profile), critical=whole.critical)
        served, interval, bracket = found.served_users, found.interval, found.bracket
        levels = tuple(Level(one.users, one.served_share, one.share_low, one.share_high) for one in found.levels)
    else:
        levels = tuple(_levels(first))
    seconds = sum(visit.seconds for one in replies for visit in one.visits[OVERALL])
    return SetUpResult(
        name=set_up.name,
        runs=tuple(run.path for run in set_up.runs),
        verdict=set_up.verdict,  # type: ignore[arg-type]
        sentence=first["sentence"],
        served_users=served,
        interval=None if interval is None else (interval[0], interval[1]),
        bracket=(bracket[0], bracket[1]),
        minutes=seconds / 60 if replies else None,
        levels=levels,
    )


def _by_reports(runs: Sequence[Run]) -> tuple[int | None, Interval | None, Bracket]:
    """Return what every run's report proves, and the hull of their intervals."""
    found = capacity_of_reports(runs)
    low, high = found.limits(ERROR) if found else (0.0, math.inf)
    interval = (int(low), None if math.isinf(high) else int(high)) if found else None
    served = _of_all([run.capacity["served_users"] for run in runs], min)
    held = _of_all([run.capacity["bracket"][0] for run in runs], min)
    return served, interval, (held, _of_all([run.capacity["bracket"][1] for run in runs], max))


def _of_all(values: Sequence[int | None], cautious: Callable[[Sequence[int]], int]) -> int | None:
    known = [value for value in values if value is not None]
    return cautious(known) if len(known) == len(values) else None


def _levels(capacity: Mapping[str, Any]) -> list[Level]:
    by_users = {
        level["users"]: Level(
            level["users"], level["served_share"], level["served_share_low"], level["served_share_high"]
        )
        for level in capacity["levels"]
        if level["served_share"] is not None
    }
    return [by_users[users] for users in sorted(by_users)]
