"""Gates on single figures, and against a baseline: passed, failed or unproven, each by what is proven."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from probe_ext.compare.compare_set_ups import ERROR
from probe_ext.compare.comparison_sentence import more_minutes_text
from probe_ext.compare.measured import MAX_MINUTES, Contrast, Measured, Span, contrast
from probe_ext.compare.questions import KINDS, Answers, Question, answers_of_capacity, answers_of_replies
from probe_ext.compare.replies import AssignedReplies
from probe_ext.compare.set_up import Run, SetUp
from probe_ext.compare.set_up_aspects import must_be_equal
from probe_ext.compare.values import Quantity
from probe_ext.settings.gate_limits import GateLimit
from probe_ext.verdict.evidence.columns import Floats, numbers
from probe_ext.verdict.evidence.manifest_view import mapping, workers
from probe_ext.verdict.grading.reply_grades import BROKEN
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.levels.visits import criteria_of
from probe_ext.verdict.phrasing.formats import percent, seconds
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.values.json_types import DIMENSIONS

TITLES: Mapping[str, str] = {
    "capacity": "people at once",
    "served": "served replies",
    "first_word": "replies served by first word",
    "typing": "replies served by typing speed",
    "silence": "replies served by silence",
    "answer": "complete answers",
}
MIN_PROVABLE_MARGIN = 0.02
RESERVE = 1.43
"""so that the announced time proves it in four of five cases: 1 + 0.84 ÷ 1.96"""
GateOutcome = Literal["passed", "failed", "unproven"]


@dataclass(frozen=True)
class GateTest:
    """One test of a gate."""

    name: str
    outcome: GateOutcome
    sentence: str
    seconds: float | None = None
    """measured time that it rests on"""


def limit_tests(run: AssignedReplies, limits: Sequence[GateLimit], users: int | None) -> list[GateTest]:
    """Test upper limits. `users`: where, if a limit doesn't say; None: at the highest level that was measured."""
    levels = [level.users for level in run.assignment.levels]
    at = users if users is not None else max(levels, default=None)
    return [_limit_test(run, limit, limit.users or at) for limit in limits]


def _limit_test(run: AssignedReplies, limit: GateLimit, users: int | None) -> GateTest:
    """Prove that enough replies keep the limit by the estimator that proves capacity, which uses other levels, too."""
    shown = percent(limit.limit) if limit.figure == "broken" else seconds(limit.limit)
    where = _at(users)
    name = f"{limit.name} at most {shown}{where}"
    needed = replace(criteria_of(run.profile), served_share=limit.keeping_share)
    visits = run.visits_within(_values(run, limit), 0.0 if limit.figure == "broken" else limit.limit)
    found = estimate([replace(visit, broken=np.zeros_like(visit.broken)) for visit in visits], needed)
    level = None if users is None else found.level(users)
    if level is None:
        return GateTest(name, "unproven", f"gate: {name}: unproven, no reply was judged{where}")
    kept = f"{percent(level.served_share)} of {things(level.replies, 'reply', 'replies')} kept it"
    if level.state == "held":
        return GateTest(name, "passed", f"gate: {name}: met, {kept}", level.seconds)
    if level.state == "failed":
        return GateTest(
            name, "failed", f"gate: {name}: missed, {kept}; {percent(limit.keeping_share)} must", level.seconds
        )
    more = "" if level.seconds_needed is None else f"; {more_minutes_text(level.seconds_needed / 60)} would settle it"
    return GateTest(name, "unproven", f"gate: {name}: unproven, {kept}{more}", level.seconds)


def _values(run: AssignedReplies, limit: GateLimit) -> Floats:
    replies = run.evidence.replies
    if limit.figure == "ttft":
        return np.where(run.graded.arrived.at_once, np.nan, numbers(replies, "first") - numbers(replies, "sent"))
    if limit.figure == "tpot":
        return np.asarray(1 / run.graded.experience.rate)
    if limit.figure == "longest_gap":
        return run.graded.experience.gap
    grades = run.graded.overall
    return np.where(grades < 0, np.nan, np.where(grades == BROKEN, 1.0, 0.0))


def baseline_tests(run: Run, baseline: Run, margin: float) -> list[GateTest]:
    """Test that a run is not worse than a baseline by more than `margin`: in capacity, and in each promise.

    A share of the capacity, as far as both measured; of the served replies, points. The promises are tested at the
    largest number of users that the baseline proved to be served; a `capacity.json` knows all of them together only.
    Not worse must be proven, and so must worse; anything else is unproven.
    """
    promises: Sequence[Quantity] = ("served",) if baseline.replies is None else ("served", *DIMENSIONS)  # type: ignore[assignment]
    tests: list[Question] = [("capacity", None), *((name, baseline.capacity["bracket"][0]) for name in promises)]
    why = _incomparable(run, baseline)
    top = min(_highest(run), _highest(baseline))
    ours, theirs = (_up_to(_answers(one), top) for one in (run, baseline))
    asked = [test for test in tests if test in theirs or test[0] in {"capacity", "served"}]
    return [_baseline_test(test, run, (ours, theirs), margin, why) for test in asked]


def _highest(run: Run) -> int:
    return max((level["users"] for level in run.capacity["levels"]), default=0)


def _up_to(answers: Answers, top: int) -> Answers:
    """Return the answers with a capacity of at most `top`, as more was not tried by both."""
    question: Question = ("capacity", None)
    if question not in answers or not top:
        return answers
    whole = answers[question]

    def cut(span: Span) -> Span:
        return min(span[0], top), min(span[1], top)

    left_open = None if whole.left_open is None else cut(whole.left_open)
    limited = replace(
        whole, point=min(whole.point, top), limits=lambda error: cut(whole.limits(error)), left_open=left_open
    )
    return {**answers, question: limited}


def _incomparable(run: Run, baseline: Run) -> str:
    """Return what differs and must not. A pipeline's machines have other names each time, and may be of one kind."""
    different = must_be_equal([SetUp("baseline", [baseline]), SetUp("run", [run])])
    alike = _client_kind(run) == _client_kind(baseline)
    return "; ".join(f"{one.name}: {one.why}" for one in different if not (one.aspect == "client" and alike))


def _client_kind(run: Run) -> tuple[object, ...]:
    manifest = run.manifest or {}
    generators = workers(manifest)
    machines = len({str(worker.get("host")) for worker in generators})
    return mapping(manifest.get("versions")).get("platform"), len(generators), machines


def _answers(run: Run) -> Answers:
    if run.replies is None or run.profile is None:
        return answers_of_capacity(run)
    return answers_of_replies(run.replies, run.profile, [run])


def _baseline_test(question: Question, run: Run, figures: tuple[Answers, Answers], margin: float, why: str) -> GateTest:
    quantity, users = question
    ours, theirs = figures
    scale = KINDS[quantity].scale
    allowed = f"{100 * margin:.0f} points" if scale == "difference" else percent(margin)
    name = f"{TITLES[quantity]}{_at(users)} at most {allowed} worse than the baseline"
    if why:
        return GateTest(name, "unproven", f"gate: {name}: unproven, not comparable: {why}")
    if question not in ours or question not in theirs:
        return GateTest(name, "unproven", f"gate: {name}: unproven, {_missing(question, ours)}")
    base, other = theirs[question], ours[question]
    found = contrast(base, other, scale, ERROR)
    bound = -margin if scale == "difference" else float(np.log1p(-margin))
    outcome: GateOutcome = "passed" if found.low >= bound else "failed" if found.high < bound else "unproven"
    if outcome == "unproven" and scale == "difference" and _is_served_anyway(run, question, margin):
        outcome = "passed"
    word = {"passed": "met", "failed": "missed", "unproven": "unproven"}[outcome]
    more = _more(found, bound, base.seconds + other.seconds) if outcome == "unproven" else ""
    return GateTest(name, outcome, f"gate: {name}: {word}, {_seen(question, base, other)}{more}", other.seconds)


def _is_served_anyway(run: Run, question: Question, margin: float) -> bool:
    """Return whether so many replies are proven served that no baseline could be better by more than the margin.

    Unlike a difference, that can use what higher levels show.
    """
    quantity, users = question
    if run.replies is None or run.profile is None or users is None or margin < MIN_PROVABLE_MARGIN:
        return False
    needed = replace(criteria_of(run.profile), served_share=1 - margin)
    visits = [replace(visit, broken=np.zeros_like(visit.broken)) for visit in run.replies.visits.get(quantity, ())]
    level = estimate(visits, needed).level(users)
    return level is not None and level.state == "held"


def _more(found: Contrast, bound: float, seconds_: float) -> str:
    """Return about how much more measured time would prove it; empty where more of the same would not."""
    missing = found.inner[0] - bound
    factor = (found.inner[0] - found.low) * RESERVE / missing if missing > 0 and math.isfinite(found.low) else 0.0
    minutes = factor**2 * seconds_ / 60 - seconds_ / 60
    return f"; {more_minutes_text(minutes)} would settle it" if 0 < minutes <= MAX_MINUTES else ""


def _at(users: int | None) -> str:
    return "" if users is None else f" at {things(users, 'user')}"


def _missing(question: Question, ours: Answers) -> str:
    if question[0] != "capacity" and question[1] is None:
        return "the baseline proved no number of users to be served"
    return f"{'the baseline' if question in ours else 'the run'} has no such figure"


def _seen(question: Question, base: Measured, other: Measured) -> str:
    values = [f"{one.point:.0f}" if question[0] == "capacity" else percent(one.point) for one in (base, other)]
    return f"{values[1]}, baseline {values[0]}"
