"""How often the stated interval holds what is true, whether two runs of one server agree, and one run with itself."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.pool import Pool
from typing import Any

from probe_ext.verdict.judge import judge
from scripts.study.servers import Case, cases
from scripts.study.truth import boundary, chat
from scripts.study.virtual_run import hold_levels

RUNS = 100
TWICE = 10
"""runs that are judged a second time"""
HOLDS = (30.0, 10.0)
"""seconds: what a level is held for by default, and for soft boundaries one that is too short for comfort"""
SEEDS = 10_000
"""the first one; a run's seed is this and its number"""

Interval = tuple[int, int | None]


@dataclass(frozen=True)
class Answer:
    """What one run said."""

    users: int | None
    interval: Interval | None
    again: bool
    """whether a second judgement said the same; True where there was none"""


def study(pool: Pool, number: int) -> list[dict[str, Any]]:
    """A row a hold of this case."""
    case = cases()[number]
    held, failed = boundary(case)
    truth = {"held": asdict(held), "failed": asdict(failed)}
    rows = []
    for hold in HOLDS if case.soft else HOLDS[:1]:
        jobs = [(number, SEEDS + run, hold, run < TWICE) for run in range(RUNS)]
        rows.append(row(case, hold, truth, pool.starmap(one_run, jobs, chunksize=5)))
    return rows


def one_run(number: int, seed: int, hold: float, twice: bool) -> Answer:
    """A fixed sweep, judged."""
    case = cases()[number]
    evidence = hold_levels(case.profile, case.people, case.sweep, seed=seed, hold=hold).evidence
    verdict = judge(evidence, chat())
    same = not twice or judge(evidence, chat()).to_json() == verdict.to_json()
    return Answer(verdict.served_users, verdict.interval, same)


def row(case: Case, hold: float, truth: dict[str, Any], answers: Sequence[Answer]) -> dict[str, Any]:
    """Figures of one case."""
    true = truth["held"]["users"]
    given = [one.interval for one in answers if one.interval is not None]
    best = max((users for users in case.sweep if users <= true), default=0)
    pairs = [(a.interval, b.interval) for a, b in zip(answers[::2], answers[1::2], strict=True)]
    both = [(a, b) for a, b in pairs if a and b]
    return {
        "case": case.name,
        "what": case.what,
        "sweep": list(case.sweep),
        "hold": hold,
        "truth": truth,
        "runs": len(answers),
        "answered": len(given),
        "covered": sum(holds(one, true) for one in given),
        "above": sum(low > true for low, _ in given),
        "below": sum(high is not None and high < true for _, high in given),
        "lower_later": sum(holds((_next_above(low, case.sweep), high), true) for low, high in given),
        "upper_sooner": sum(holds((low, _next_below(high, case.sweep)), true) for low, high in given),
        "exact": sum(one.users == best for one in answers),
        "too_many": sum(one.users is not None and one.users > true for one in answers),
        "width": sum((high or max(case.sweep)) - low + 1 for low, high in given) / max(1, len(given)),
        "pairs": len(both),
        "overlap": sum(_overlap(a, b) for a, b in both),
        "judged_again": TWICE,
        "same_again": sum(one.again for one in answers[:TWICE]),
    }


def holds(interval: Interval, value: int) -> bool:
    """Whether a number of users lies in it."""
    low, high = interval
    return low <= value and (high is None or value <= high)


def _next_above(low: int, sweep: Sequence[int]) -> int:
    """An interval's lower end, one measured level higher."""
    return min((users for users in sweep if users > low), default=low)


def _next_below(high: int | None, sweep: Sequence[int]) -> int:
    """Its upper end, below the next lower measured level."""
    return max(users for users in sweep if high is None or users <= high) - 1


def _overlap(a: Interval, b: Interval) -> bool:
    return (b[1] is None or a[0] <= b[1]) and (a[1] is None or b[0] <= a[1])
