"""How a search ended, as a finding, and what would help if its interval is wider than asked.

It names no interval: that of the report is of all replies, and so of more than the search saw.
"""

import math
from typing import Any

from probe_ext.load.boundary_search import SearchSteps
from probe_ext.measure.findings import FindingState, recorded_finding
from probe_ext.verdict.phrasing.formats import span
from probe_ext.verdict.phrasing.plurals import minutes, things


def search_finding(steps: SearchSteps) -> dict[str, Any]:
    """In the shape of `capacity.json`'s findings."""
    state, why, advice = _outcome(steps)
    return recorded_finding("search", why, advice, state=state)


def _outcome(steps: SearchSteps) -> tuple[FindingState, str, str]:
    state: FindingState = "unproven"
    match steps.outcome:
        case "precise":
            state, why, advice = "pass", "The search reached the requested precision.", ""
        case "other_load":
            why = f"The search ended at {things(steps.level, 'user')} because others used the server."
            advice = "Repeat it while nobody else uses the server."
        case "widened":
            why = f"Replies that ended after the search widened its interval: it is wider than {_wanted(steps)}."
            advice = "Repeat it."
        case "max_users":
            why = f"The search held {things(steps.plan.max_users, 'user')} and went no higher."
            advice = "Raise --max-users."
        case "unreachable":
            state, why = "fail", f"The search could not start {things(steps.level, 'user')}."
            advice = "See Locust's log."
        case "time":
            why = f"The search ran out of time: {_missing(steps)}.{_more(steps)}"
            advice = "Give it more time with --search-time, or request a wider interval with --precision."
        case _:
            why = f"The search was stopped early: {_missing(steps)}.{_more(steps)}"
            advice = "Search again to narrow it further."
    return state, why, advice


def _missing(steps: SearchSteps) -> str:
    """Say what the search had not reached."""
    if not steps.is_narrow:
        return f"its interval is wider than {_wanted(steps)}"
    missing = {"held": "served", "failed": "too many"}.get(steps.missing_proof or "")
    return f"no number of users is proven {missing}" if missing else "its precision may be due to chance"


def _wanted(steps: SearchSteps) -> str:
    width = steps.target_width
    return "requested" if width is None else f"the requested {things(int(width), 'user')}"


def _more(steps: SearchSteps) -> str:
    seconds = steps.seconds_left
    if not seconds:
        least = least_minutes_in_words(steps.least_seconds_left or 0.0)
        return f" It needed {least}." if least else ""
    if seconds > steps.plan.longest:
        return f" That would take more than another {span(steps.plan.longest)}."
    return f" About {minutes(seconds, 'more minute')} would be enough."


def least_minutes_in_words(seconds: float) -> str:
    """Return `at least 2 more minutes`; empty if not even one is known to be needed."""
    whole = math.floor(seconds / 60)
    return f"at least {things(whole, 'more minute')}" if whole else ""
