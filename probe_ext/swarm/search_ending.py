"""How a search ended, as a finding: whether both ends of its bracket are proven, and what would help if not."""

from typing import Any

from probe_ext.load.search import SearchSteps
from probe_ext.load.sequential import ALPHA
from probe_ext.verdict.amounts import percent


def search_finding(steps: SearchSteps) -> dict[str, Any]:
    """In the shape of `capacity.json`'s findings."""
    state, why, advice = _told(steps)
    return {"check": "search", "state": state, "invalidates": False, "why": why, "advice": advice}


def _told(steps: SearchSteps) -> tuple[str, str, str]:
    held, failed = steps.bracket
    found = f"{held:,} held" if held else "none held"
    found += f", {failed:,} failed" if failed else ", none failed"
    open_ones = [n for n in steps.bracket if n and not steps.is_proven(n)]
    if steps.outcome == "closed":
        why = f"The search closed in on the boundary ({found}), each end wrong in at most {percent(ALPHA)} of cases."
        return "pass", why, ""
    if steps.outcome == "max_users":
        return "unproven", f"The search found no level that failed ({found}).", "Let it go higher: --max-users."
    if steps.outcome == "time":
        return (
            "unproven",
            f"The search's time was over before it had closed in ({found}).",
            "Give it more: --search-time.",
        )
    if steps.outcome == "unreachable":
        return "fail", f"The search could not bring up {steps.level:,} users ({found}).", "Look at Locust's log."
    if steps.outcome == "open":
        which = " and ".join(f"{n:,}" for n in open_ones)
        why = (
            f"The search closed in on the boundary ({found}), but {steps.plan.patience:.0f} s at {which} users were "
            f"too few to be wrong in at most {percent(ALPHA)} of cases: they are close to it, or their replies too few."
        )
        return "unproven", why, "Give levels more time: --hold."
    return "unproven", f"The search was ended before it had closed in ({found}).", "Let it end by itself."
