"""What is true of a virtual server: which numbers of users it keeps served in the long run.

Its people are all alike, so in the long run each of them is served as often as all of them together: a level holds if
the share of all replies that are served is what a served user needs. A run of finite length only estimates that.
"""

from dataclasses import dataclass

from probe_ext.bundled import folder
from probe_ext.settings.slo import SloProfile, load_profile
from probe_ext.verdict.judge import judge
from scripts.study.servers import Case
from scripts.study.virtual_run import hold_levels

LONG = 1200.0
"""seconds of one level: hundreds of replies of every user, so that chance no longer decides"""
SEED = 4_711


def chat() -> SloProfile:
    """The profile that all studies judge by."""
    return load_profile("chat", folder("configs") / "slo")


@dataclass(frozen=True)
class LongRun:
    """One number of users, held for LONG."""

    users: int
    served: float
    """share of the replies that were served"""
    holds: bool


def long_run(case: Case, users: int) -> LongRun:
    """Hold it."""
    run = hold_levels(case.profile, case.people, (users,), seed=SEED, hold=LONG)
    level, needed = judge(run.evidence, chat()).levels[0], chat().users
    judged = level.replies_served + level.replies_strained + level.replies_broken
    served, broken = level.replies_served / judged, level.replies_broken / judged
    return LongRun(users, served, served >= needed.served_share and broken <= needed.broken_share)


def boundary(case: Case) -> tuple[LongRun, LongRun]:
    """The highest number of users that holds in the long run, and the next one, which does not; by halving."""
    low, high = 1, max(case.sweep)
    known = {users: long_run(case, users) for users in (low, high)}
    if not known[low].holds or known[high].holds:
        raise ValueError(f"{case.name}: the boundary does not lie between {low} and {high} users")
    while high - low > 1:
        middle = (low + high) // 2
        known[middle] = long_run(case, middle)
        low, high = (middle, high) if known[middle].holds else (low, middle)
    return known[low], known[high]
