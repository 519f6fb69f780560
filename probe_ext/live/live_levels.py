"""The levels of a running test: the one that is being measured, and those before it.

Levels start and end as in `verdict.levels`, and users are judged as in the report. But replies in flight are unknown
here, so after a step down a level starts as soon as it has settled; in the report, when the previous level's queue is
gone too. A finished level still takes the replies that were sent in it, until two more have started.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from probe_ext.live.reply_batch import Batch
from probe_ext.live.user_ledger import Ledger
from probe_ext.load.level_plan import MIN_LEVEL_S, LevelPlan, min_level_seconds
from probe_ext.measure.sketch import LatencySketch
from probe_ext.settings.options import Plan
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.grading.user_grades import UserCounts
from probe_ext.verdict.levels.find_levels import MAX_SAMPLE_GAP_S, SETTLE_S
from probe_ext.verdict.levels.level_state import STATE_NAMES, Coverage, judge_levels, served_share
from probe_ext.verdict.values.columns import Floats
from probe_ext.verdict.values.json_types import DIMENSIONS

MAX_OPEN_LEVELS = 3  # that still take replies
MAX_PAST_LEVELS = 50


@dataclass(frozen=True)
class Rules:
    """What counts as a level of this run, and how it is judged. Seconds."""

    profile: SloProfile
    settle: float
    shortest: float = MIN_LEVEL_S
    """a level with a shorter measured part is dropped"""
    min_replies: int = 3
    planned: Collection[int] | None = None
    """the planned numbers of users; None without a plan"""


def rules_of(plan: Plan | None, profile: dict[str, Any]) -> Rules:
    """Return the rules by which the report will find and judge this run's levels."""
    slo = SloProfile.model_validate(profile)
    if plan is None:
        return Rules(slo, SETTLE_S, min_replies=slo.level.min_replies)
    levels = frozenset(plan.levels) if isinstance(plan, LevelPlan) else None
    return Rules(slo, plan.settle, min_level_seconds(plan.hold), plan.min_replies, levels)


@dataclass(frozen=True)
class LevelNow:
    """A level so far; keys as in `capacity.json`."""

    users: int
    t_start: float
    t_end: float | None
    """None while it goes on"""
    state: str
    """`held`, `failed` or `unproven`, by the replies so far"""
    why: tuple[str, ...]
    """dimensions in which too few users are served, the worst first"""
    users_served: int
    users_strained: int
    users_broken: int
    users_undecided: int
    users_unheard: int
    users_told: int
    """users with enough judged replies"""
    replies: int
    ttft_p50: float | None
    ttft_p95: float | None
    decode_rate_p50: float | None
    longest_gap_max: float | None
    kv_usage_max: float | None
    waiting_max: float | None
    preemptions: int | None

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)


class Level:
    """One level. Its size does not grow with the number of replies."""

    def __init__(self, users: int, start: float) -> None:
        self.users, self.start = users, start
        self.end: float | None = None
        self.overtaken = False
        """whether more users ended it: replies in flight then count as they stood"""
        self._ledger = Ledger(1 + len(DIMENSIONS))
        self._ttft, self._tpot = LatencySketch(), LatencySketch()
        self._replies = 0
        self._peaks: dict[str, float | None] = {"longest_gap_max": None, "kv_usage_max": None, "waiting_max": None}
        self._preemptions: int | None = None

    def add(self, batch: Batch) -> None:
        """Add the replies of a batch that were sent in this level."""
        end = np.inf if self.end is None else self.end
        sent_here = batch.where((batch.sent >= self.start) & (batch.sent <= end))
        if not len(sent_here):
            return
        self._replies += len(sent_here)
        self._ledger.add(sent_here.user, sent_here.grades, *(sent_here.by[dimension] for dimension in DIMENSIONS))
        self._ttft.add(sent_here.ttft[sent_here.ttft >= 0].tolist())
        self._tpot.add((1 / sent_here.rate[sent_here.rate > 0]).tolist())
        gaps = sent_here.gap[~np.isnan(sent_here.gap)]
        if len(gaps):
            self._peak("longest_gap_max", float(gaps.max()))

    def note_server(self, kv_usage: float | None, waiting: float | None, preemptions: int | None) -> None:
        """Add server metrics; `preemptions` since the last call."""
        self._peak("kv_usage_max", kv_usage)
        self._peak("waiting_max", waiting)
        if preemptions is not None:
            self._preemptions = (self._preemptions or 0) + preemptions

    def _peak(self, name: str, value: float | None) -> None:
        if value is not None:
            self._peaks[name] = max(self._peaks[name] or 0.0, value)

    def now(self, rules: Rules) -> LevelNow:
        """Return the level so far."""
        users, share = rules.profile.users, rules.profile.level.served_share
        people = self._ledger.people(users)
        present = max(self.users, self._ledger.seen)
        with_enough = self._ledger.users_with(rules.min_replies)
        enough = with_enough >= share * self.users - 1e-9
        state = judge_levels(_arrays(people), Coverage(np.array([present]), np.array([enough])), share)[0]
        tpot = self._tpot.quantile(0.5)
        return LevelNow(
            users=self.users,
            t_start=self.start,
            t_end=self.end,
            state=STATE_NAMES[state],
            why=self._why(rules),
            users_served=int(people.served),
            users_strained=int(people.strained),
            users_broken=int(people.broken),
            users_undecided=int(people.undecided),
            users_unheard=int(present - people.judged),
            users_told=with_enough,
            replies=self._replies,
            ttft_p50=self._ttft.quantile(0.50),
            ttft_p95=self._ttft.quantile(0.95),
            decode_rate_p50=1 / tpot if tpot else None,
            longest_gap_max=self._peaks["longest_gap_max"],
            kv_usage_max=self._peaks["kv_usage_max"],
            waiting_max=self._peaks["waiting_max"],
            preemptions=self._preemptions,
        )

    def _why(self, rules: Rules) -> tuple[str, ...]:
        shares = {}
        for way, dimension in enumerate(DIMENSIONS, start=1):
            share = float(served_share(_arrays(self._ledger.people(rules.profile.users, way)))[0])
            if share < rules.profile.level.served_share:
                shares[dimension] = share
        return tuple(sorted(shares, key=lambda dimension: shares[dimension]))


def _arrays(people: UserCounts) -> UserCounts:
    return UserCounts(*(np.atleast_1d(n) for n in (people.served, people.strained, people.broken, people.undecided)))


class Levels:
    """All levels of a run, from the number of users and the replies."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.users = 0
        self.since = 0.0
        """when the number of users last changed"""
        self.past: list[LevelNow] = []
        """levels that take no more replies, newest last"""
        self._open: list[Level] = []
        self._sampled: float | None = None

    @property
    def present(self) -> Level | None:
        """The level that is being measured; None while the number of users changes or settles."""
        return self._open[-1] if self._open and self._open[-1].end is None else None

    def note_users(self, t: float, users: int, *, ending: bool) -> bool:
        """Note the number of users; True if it has fallen."""
        users = 0 if ending else users
        near = self._sampled is not None and t - self._sampled <= MAX_SAMPLE_GAP_S
        changed = self._sampled if near and self._sampled is not None else t
        fewer = users < self.users
        if users != self.users:
            self._close(changed, overtaken=users > self.users)
            self.users, self.since = users, changed
        elif self.present is None and self._is_settled(t):
            self._begin(Level(users, self.since + self.rules.settle))
        self._sampled = t
        return fewer

    def _is_settled(self, t: float) -> bool:
        planned = self.rules.planned is None or self.users in self.rules.planned
        return self.users > 0 and planned and t >= self.since + self.rules.settle

    def _begin(self, level: Level) -> None:
        self._open.append(level)
        while len(self._open) > MAX_OPEN_LEVELS:
            self.past = [*self.past, self._open.pop(0).now(self.rules)][-MAX_PAST_LEVELS:]

    def _close(self, t: float, *, overtaken: bool) -> None:
        level = self.present
        if level is None:
            return
        level.end, level.overtaken = t, overtaken
        if t - level.start < self.rules.shortest:
            self._open.pop()

    def add(self, batch: Batch) -> None:
        """Add finished replies."""
        for level in self._open:
            level.add(batch)

    @property
    def overtaken(self) -> bool:
        """Whether replies may still arrive for a level that more users ended."""
        return any(level.overtaken for level in self._open)

    def judged_until(self, sent: Floats) -> Floats:
        """Return the time up to which replies sent at these times are judged."""
        until = np.full(len(sent), np.inf)
        for level in self._open:
            if level.overtaken and level.end is not None:
                until[(sent >= level.start) & (sent <= level.end)] = level.end
        return until

    def settled_in(self, now: float) -> float | None:
        """Return seconds until the measured part starts; None if it has, or without users."""
        left = self.since + self.rules.settle - now
        return left if self.users and self.present is None and left > 0 else None

    def all_now(self) -> list[LevelNow]:
        """Return every level so far, in order of time."""
        return [*self.past, *(level.now(self.rules) for level in self._open)]
