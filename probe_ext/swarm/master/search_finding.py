"""How a search ended, as a finding: how narrow its interval is, and what would help if it is wider than asked."""

import math
from typing import Any

from probe_ext.load.boundary_search import SearchSteps
from probe_ext.measure.findings import FindingState, recorded_finding
from probe_ext.verdict.phrasing.formats import span
from probe_ext.verdict.phrasing.plurals import things


def search_finding(steps: SearchSteps) -> dict[str, Any]:
    """In the shape of `capacity.json`'s findings."""
    state, why, advice = _outcome(steps)
    return recorded_finding("search", why, advice, state=state)


def _outcome(steps: SearchSteps) -> tuple[FindingState, str, str]:
    reached, top = _interval(steps), steps.plan.max_users
    if steps.outcome == "other_load":
        why = f"The search ended at {things(steps.level, 'user')} because others used the server: it reached {reached}."
        return "unproven", why, "Repeat it while nobody else uses the server."
    return _by_itself(steps, reached, top)


def _by_itself(steps: SearchSteps, reached: str, top: int) -> tuple[FindingState, str, str]:
    match steps.outcome:
        case "precise":
            return "pass", f"The search reached the requested precision: {reached}.", ""
        case "widened":
            why = f"Replies that ended after the search widened its interval to {reached}{_wanted(steps)}."
            return "unproven", why, "Repeat it."
        case "max_users":
            return "unproven", f"The search held {things(top, 'user')} and went no higher.", "Raise --max-users."
        case "unreachable":
            why = f"The search could not start {things(steps.level, 'user')}; it reached {reached}."
            return "fail", why, "See Locust's log."
        case "time":
            why = f"The search ran out of time: {_progress(steps, 'it reached', reached)}.{_more(steps)}"
            return (
                "unproven",
                why,
                "Give it more time with --search-time, or request a wider interval with --precision.",
            )
        case _:
            why = f"The search was stopped early: {_progress(steps, 'it had reached', reached)}.{_more(steps)}"
            return "unproven", why, "Let it end by itself."


def _interval(steps: SearchSteps) -> str:
    if steps.interval is None:
        return "no interval"
    low, high = steps.interval
    if high is None:
        return f"at least {things(low, 'user')}"
    return things(low, "user") if low == high else f"{low:,} to {high:,} users"


def _progress(steps: SearchSteps, verb: str, reached: str) -> str:
    if not steps.is_narrow:
        return f"{verb} {reached}{_wanted(steps)}"
    missing = {"held": "served", "failed": "too many"}.get(steps.missing_proof or "")
    return f"{reached} is narrow enough, but no number of users is proven {missing}" if missing else f"{verb} {reached}"


def _wanted(steps: SearchSteps) -> str:
    width = steps.target_width
    return "" if width is None else f" (requested: a range of at most {things(int(width), 'user')})"


def _more(steps: SearchSteps) -> str:
    seconds = steps.seconds_left
    if not seconds:
        return ""
    if seconds > steps.plan.longest:
        return f" That would take more than another {span(steps.plan.longest)}."
    return f" About {minutes_in_words(seconds)} would be enough."


def minutes_in_words(seconds: float) -> str:
    """Return `4 more minutes`: the same while the search runs and in its report."""
    return things(math.ceil(seconds / 60), "more minute")
