"""How a search ended, as a finding: whether both ends of its bracket are proven, and what would help if not."""

from typing import Any

from probe_ext.load.boundary_search import SearchSteps
from probe_ext.load.sequential_test import ALPHA
from probe_ext.verdict.values.formats import percent
from probe_ext.verdict.values.plurals import listed


def search_finding(steps: SearchSteps) -> dict[str, Any]:
    """In the shape of `capacity.json`'s findings."""
    state, why, advice = _told(steps)
    return {"check": "search", "state": state, "invalidates": False, "why": why, "advice": advice}


def _told(steps: SearchSteps) -> tuple[str, str, str]:
    found, wrong = _ends(*steps.bracket), f"wrong in at most {percent(ALPHA)} of cases"
    told = {
        "closed": (
            "pass",
            f"The search closed in on the boundary ({found}), each end {wrong}.",
            "",
        ),
        "enclosed": (
            "pass",
            f"Both ends of the search are proven ({_ends(*steps.proven)}), each {wrong}; {_undecided(steps)}",
            "Give levels more time: --hold.",
        ),
        "open": (
            "unproven",
            f"The search closed in on the boundary ({found}), but {_undecided(steps)}",
            "Give levels more time: --hold.",
        ),
        "max_users": (
            "unproven",
            f"The search found no level that failed ({found}).",
            "Let it go higher: --max-users.",
        ),
        "time": (
            "unproven",
            f"The search's time was over before it had closed in ({found}).",
            "Give it more: --search-time.",
        ),
        "unreachable": (
            "fail",
            f"The search could not bring up {steps.level:,} users ({found}).",
            "Look at Locust's log.",
        ),
    }
    ended_before = f"The search was ended before it had closed in ({found})."
    return told.get(steps.outcome or "", ("unproven", ended_before, "Let it end by itself."))


def _ends(held: int, failed: int | None) -> str:
    return f"{f'{held:,}' if held else 'none'} held, {f'{failed:,}' if failed else 'none'} failed"


def _undecided(steps: SearchSteps) -> str:
    """Why nothing is proven of what lies between: by the last visit to each level."""
    last = {step.users: step for step in steps.steps}
    later = [n for n in steps.undecided if last[n].proven]
    given_up = [n for n in steps.undecided if n not in later and last[n].gave_up]
    glanced = [n for n in steps.undecided if n not in later and n not in given_up]
    told = {
        f"could not be decided within {steps.plan.patience:.0f} s: "
        "they are close to the boundary, or their replies too few": given_up,
        "were decided, but no longer are by the replies that ended after they were left": later,
        "were only looked at, to find the way": glanced,
    }
    return "; ".join(f"{listed([f'{n:,}' for n in which])} users {why}" for why, which in told.items() if which) + "."
