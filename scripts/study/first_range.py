"""When `probe run` says a first range, and whether it holds the truth: the opening of a search, on virtual time."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from probe_ext.live.capacity_range.known_range import KnownRange, known_range
from probe_ext.live.live_levels import UPDATE_EVERY_S
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.load.boundary_search import SearchPlan, critical_after
from scripts.study.servers import Case
from scripts.study.truth import chat, needed_share
from scripts.study.virtual.swarm import Swarm
from scripts.study.virtual.virtual_run import Run, drive

PLAN = SearchPlan(hold=20.0, settle=3.0, min_replies=3, max_users=512, longest=120.0, precision=0.10)
"""as `probe run` without options searches; no longer than it takes for a range"""
WITHIN_S = 60.0

Row = dict[str, Any]


def first_range(case: Case, seed: int) -> tuple[float, KnownRange] | None:
    """Return when the first range stands on the terminal, and the range; None if none does within PLAN.longest."""
    steps, found, around = PLAN.begin(), list[tuple[float, KnownRange]](), list[Swarm]()
    second, estimated, known = 0.0, -math.inf, None
    monitor = VisitMonitor(chat(), PLAN.min_replies, critical_after, unfinished=lambda: around[0].unfinished(second))

    def make(*given: Any) -> Swarm:
        around.append(Swarm(*given))
        return around[0]

    def target(now: float, users: int) -> int | None:
        nonlocal second, estimated, known
        second = now
        aim = steps.target(now, users, monitor)
        if monitor.visits and now - estimated >= UPDATE_EVERY_S:
            estimated, known = now, monitor.estimate(now)
        if said := known_range(known, steps.early_range, needed_share()):
            found.append((now, said))
        return None if found else aim

    drive(Run(case.profile, case.people), seed, target, monitor.add, make, steady=True)
    return found[0] if found else None


def first_range_row(case: Case, seed: int, truth: Row) -> Row:
    """Return what the page needs of one search."""
    said = first_range(case, seed)
    if said is None:
        return {"truth": truth, "at": None, "range": None}
    at, known = said
    return {"truth": truth, "at": at, "range": [known.low, known.high], "high_proven": known.high_proven}


def first_range_figures(rows: Sequence[Row]) -> Row:
    """Return the figures of one case."""
    said = [row for row in rows if row["range"] is not None]
    same = {row["truth"]["users"] for row in rows}
    times = sorted(math.inf if row["at"] is None else row["at"] for row in rows)
    return {
        "case": rows[0]["case"],
        "runs": len(rows),
        "seeds": [min(row["seed"] for row in rows), max(row["seed"] for row in rows)],
        "truth": same.pop() if len(same) == 1 else None,
        "within": [sum(at <= WITHIN_S for at in times), len(rows)],
        "median": median(row["at"] for row in said) if said else None,
        "longest": None if math.isinf(times[-1]) else times[-1],
        "covers": [sum(_covers(row) for row in said), len(said)],
    }


def _covers(row: Row) -> bool:
    low, high = row["range"]
    tied = row["truth"]["tied"]
    right = {row["truth"]["users"], *tied, *(users - 1 for users in tied)}
    return any(low <= users <= high for users in right)
