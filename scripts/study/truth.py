"""The truth about a virtual server: the long-run share of replies served at each number of users.

Its users are all alike, so in the long run each of them is served as often as all of them together. Every figure comes
from at least RUNS long runs, longer ones where the shorter ones don't settle on which side of the bound a level lies,
and is kept in CACHE.
"""

import functools
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from probe_ext.bundled import folder
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.settings.slo import SloProfile, load_profile
from probe_ext.sim.profile import Profile
from probe_ext.verdict.evidence.columns import from_rows
from probe_ext.verdict.grading.reply_grades import BROKEN, SERVED, judge_replies
from scripts.study.servers import Case
from scripts.study.virtual.people import People
from scripts.study.virtual.virtual_run import hold_levels

CACHE = Path(__file__).parents[2] / "reports" / "runs" / "truth"
"""ignored by git"""
RUNS = 5
ROUNDS_S = (60.0, 200.0, 600.0, 1200.0)
"""seconds of each run; the next round only where the one before leaves the side open"""
CLEAR_T = 3.5
"""standard errors from the bound: 97.5 % with 4 degrees of freedom, on either side"""
UNCLEAR_T = 2.78
"""standard errors: a level nearer to the bound than this after the last round is a tie"""
FIRST_SEED = 4_711
SETTLE_S, TAIL_S = 40.0, 20.0
"""seconds of a run left out at its start, and at its end, where the load goes away"""


@functools.cache
def chat() -> SloProfile:
    """The profile used by all studies."""
    return load_profile("chat", folder("configs") / "slo")


def needed_share() -> float:
    """The share of replies that must be served."""
    return chat().users.served_share


@dataclass(frozen=True)
class LevelTruth:
    """One number of users in the long run. Shares of replies; errors are standard errors over the runs."""

    users: int
    served: float
    served_error: float
    broken: float
    broken_error: float
    seconds: float
    """of each of the RUNS runs"""

    @property
    def holds(self) -> bool:
        return self.served >= needed_share() and self.broken <= chat().users.broken_share

    def is_clear(self, errors: float) -> bool:
        """Whether both shares lie at least so many standard errors from their bounds, or one that fails does."""
        served = self.served - needed_share()
        broken = chat().users.broken_share - self.broken
        margins = [(served, errors * self.served_error), (broken, errors * self.broken_error)]
        failing = [abs(gap) > error for gap, error in margins if gap < 0]
        return any(failing) if failing else all(gap >= error for gap, error in margins)


@dataclass(frozen=True)
class Truth:
    """The boundary of a server."""

    users: int
    """the largest number of users that is served; 0 if not even one is"""
    tied: tuple[int, ...]
    """levels whose side of the bound even the longest runs leave open"""
    levels: tuple[LevelTruth, ...]
    """levels that were run, by rising users"""

    @property
    def slope(self) -> float:
        """Share lost from the last level that holds to the next, in points: how sharp the boundary is."""
        share = {level.users: level.served for level in self.levels}
        return 100 * (share.get(self.users, 1.0) - share[self.users + 1])


def measure_shares(profile: Profile, people: People, users: int, *, seed: int, seconds: float) -> tuple[float, float]:
    """The served and the broken share of all replies of one run."""
    run = hold_levels(profile, people, (users,), seed=seed, hold=seconds + SETTLE_S + TAIL_S, settle=0.0, min_replies=0)
    grades = judge_replies(from_rows(run.replies, ReplyRow), chat(), "shown").overall
    sent = np.array([math.nan if row.sent is None else row.sent for row in run.replies])
    judged = grades[(sent >= SETTLE_S) & (sent <= run.seconds - TAIL_S) & (grades >= SERVED)]
    if not len(judged):
        return 0.0, 0.0
    return float(np.mean(judged == SERVED)), float(np.mean(judged == BROKEN))


def level_truth(case: Case, users: int) -> LevelTruth:
    """From the cache, else from runs."""
    file = CACHE / f"{_key(case)}.json"
    known = json.loads(file.read_text("utf-8")) if file.exists() else {}
    if str(users) not in known:
        level = _measure(case, users)
        known[str(users)] = asdict(level)
        CACHE.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(known, indent=0), "utf-8")
        part.replace(file)
    return LevelTruth(**known[str(users)])


def find_truth(case: Case, guess: int | None = None) -> Truth:
    """Step out from a guess until a level holds and one fails, then halve what lies between."""
    guess = max(1, guess if guess is not None else _likely(case))
    known: dict[int, LevelTruth] = {}

    def holds(users: int) -> bool:
        known[users] = level_truth(case, users)
        return known[users].holds

    step = max(1, round(0.1 * guess))
    low, high = (guess, guess + step) if holds(guess) else (guess - step, guess)
    while low > 0 and not holds(low):
        low, high, step = max(0, low - 2 * step), low, 2 * step
    low = max(0, low)
    while holds(high):
        low, high, step = high, high + 2 * step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    for users in (low - 1, high + 1):  # a tie next door would make the boundary itself uncertain
        if users >= 1 and not all(known[n].is_clear(UNCLEAR_T) for n in (low, high) if n >= 1):
            holds(users)
    tied = tuple(sorted(n for n, level in known.items() if not level.is_clear(UNCLEAR_T)))
    return Truth(low, tied, tuple(known[n] for n in sorted(known)))


def _measure(case: Case, users: int) -> LevelTruth:
    for number, seconds in enumerate(ROUNDS_S):
        seeds = range(FIRST_SEED + 100 * number, FIRST_SEED + 100 * number + RUNS)
        pairs = [measure_shares(case.profile, case.people, users, seed=seed, seconds=seconds) for seed in seeds]
        served, broken = zip(*pairs, strict=True)
        level = LevelTruth(users, fmean(served), _error(served), fmean(broken), _error(broken), seconds)
        if level.is_clear(CLEAR_T):
            break
    return level


def _error(shares: tuple[float, ...]) -> float:
    """Of the mean; not below what the count of runs can tell."""
    return stdev(shares) / math.sqrt(len(shares))


def _likely(case: Case) -> int:
    return case.sweep[len(case.sweep) // 2]


def _key(case: Case) -> str:
    """Whatever number of the server, its users, the profile or the method changes, changes the file; words don't."""
    told = [_numbers(asdict(case.profile)), _numbers(asdict(case.people)), _numbers(chat().model_dump(mode="json"))]
    return hashlib.sha256(f"{told}{ROUNDS_S}{RUNS}{SETTLE_S}".encode()).hexdigest()[:20]


def _numbers(values: Any) -> list[float]:
    """All numbers of a nested mapping, in order."""
    if isinstance(values, dict):
        return [number for value in values.values() for number in _numbers(value)]
    return [float(values)] if isinstance(values, int | float) else []
