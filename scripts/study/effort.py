"""The search beside fixed sweeps of the same servers: minutes of run, answer, interval, error, over seeds."""

from collections.abc import Sequence
from multiprocessing.pool import Pool
from statistics import mean, median
from typing import Any

from probe_ext.load.boundary_search import RESOLUTION, SearchPlan
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.judgement import Judgement
from scripts.study.coverage import holds
from scripts.study.servers import Case, cases
from scripts.study.truth import boundary, chat, long_run
from scripts.study.virtual_run import Run, hold_levels, search

RUNS = 20
SEEDS = 20_000
PLAN = SearchPlan(hold=30.0, settle=5.0, min_replies=3, max_users=512, longest=1800.0)
"""the defaults"""


def study(pool: Pool, number: int) -> list[dict[str, Any]]:
    """A row a way of this case."""
    case = cases()[number]
    true = boundary(case)[0].users
    rows = []
    for way in WAYS:
        jobs = [(number, way, SEEDS + run, true) for run in range(RUNS)]
        rows.append(row(case, way, true, pool.starmap(one_run, jobs, chunksize=1)))
    return rows


def fine(true: int) -> tuple[int, ...]:
    """Levels as close as the search's ends are in the end, up to the second above the truth, as if that were known."""
    levels = [1]
    while levels[-1] <= true or len([n for n in levels if n > true]) < 2:
        levels.append(levels[-1] + max(1, int(RESOLUTION * levels[-1])))
    return tuple(levels)


def doubling(true: int) -> tuple[int, ...]:
    """1, 2, 4, … up to the first above the truth."""
    levels = [1]
    while levels[-1] <= true:
        levels.append(2 * levels[-1])
    return tuple(levels)


WAYS = ("search", "fine sweep", "doubling sweep")


def one_run(number: int, way: str, seed: int, true: int) -> dict[str, Any]:
    """Run it, judge it."""
    case = cases()[number]
    if way == "search":
        run = search(case.profile, case.people, chat(), PLAN, seed=seed)
    else:
        levels = fine(true) if way == "fine sweep" else doubling(true)
        run = hold_levels(case.profile, case.people, levels, seed=seed)
    verdict = judge(run.evidence, chat())
    return {
        "minutes": run.seconds / 60,
        "users": verdict.served_users,
        "interval": verdict.interval,
        "bracket": verdict.bracket,
        **_searched(case, run, verdict, true),
    }


def _searched(case: Case, run: Run, verdict: Judgement, true: int) -> dict[str, Any]:
    """How a search ended, and which of its proven levels are not what they are in the long run, or by the verdict."""
    told = run.plan["search"]
    if told is None:
        return {}
    proven = {step["users"]: step["state"] for step in told["steps"] if step["proven"]}
    wrong = {n: state for n, state in proven.items() if state != ("held" if n <= true else "failed")}
    return {
        "outcome": told["outcome"],
        "proven": len(proven),
        "differs": sum(state != _judged(verdict, users) for users, state in proven.items()),
        "wrong": [{"users": n, "state": state, "served": long_run(case, n).served} for n, state in wrong.items()],
    }


def _judged(verdict: Judgement, users: int) -> str:
    """What the verdict says of a number of users, all visits put together."""
    levels = [level for level in verdict.levels if level.users == users]
    served, lost, undecided = (
        sum(count)
        for count in zip(
            *((one.users_served, one.users_strained + one.users_broken, one.users_undecided) for one in levels),
            strict=True,
        )
    )
    heard, share = served + lost + undecided, chat().level.served_share - 1e-9
    return "held" if served >= share * heard else "failed" if served + undecided < share * heard else "unproven"


def row(case: Case, way: str, true: int, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of one case and way."""
    answered = [one for one in results if one["users"] is not None]
    spans = [(low, high) for low, high in (one["interval"] for one in answered) if high is not None]
    found: dict[str, Any] = {
        "case": case.name,
        "way": way,
        "truth": true,
        "runs": len(results),
        "answered": len(answered),
        "minutes": median(one["minutes"] for one in results),
        "minutes_max": max(one["minutes"] for one in results),
        "users": median(one["users"] for one in answered),
        "users_low": min(one["users"] for one in answered),
        "users_high": max(one["users"] for one in answered),
        "error": mean(abs(one["users"] - true) / true for one in answered),
        "width": mean(high - low + 1 for low, high in spans) if spans else None,
        "covered": sum(holds(one["interval"], true) for one in answered),
    }
    if way == "search":
        found["closed"] = sum(one["outcome"] == "closed" for one in results)
        found["enclosed"] = sum(one["outcome"] == "enclosed" for one in results)
        found["differs"] = sum(one["differs"] for one in results)
        found["proven"] = sum(one["proven"] for one in results)
        found["wrong"] = [one for result in results for one in result["wrong"]]
    return found
