"""What the estimator says: values only. `estimate.py` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from probe_ext.verdict.values.json_types import Amount, Bracket, Count, Fraction, Interval, Load, State, Text

Reason = Literal[
    "too_few_replies",
    "too_close",
    "users_differ",
    "broken_bound",
    "contradicts_higher_level",
    "needs_second_visit",
    "visits_disagree",
    "other_load",
]


@dataclass(frozen=True)
class Criteria:
    """When a person, and when a number of users, counts as served."""

    served_share: float = 0.90
    """of a served person's replies, at least"""
    broken_share: float = 0.01
    """of a served person's replies, at most"""
    users_share: float = 0.95
    """of the users who must be served, at least"""
    error: float = 0.025
    """of each proof, at most"""

    @property
    def broken_limit(self) -> float:
        """The broken share that a held level must be proven to stay below once a reply broke."""
        return 2 * self.broken_share


@dataclass(frozen=True)
class UserGroup:
    """Users who are served less often than the others."""

    users: Count
    """of those who were there at once, the mean over visits weighted by replies"""
    share: Fraction
    """of their replies that were served"""
    others_share: Fraction


Trait = Literal[
    "worker",
    "machine",
    "scenario",
    "kind",
    "long_prompts",
    "long_answers",
    "few_cached_tokens",
    "slow_connections",
    "new_connections",
]


@dataclass(frozen=True)
class SharedTrait:
    """What the users who are served worse share."""

    trait: Trait
    value: Text
    """its name, or the group's mean"""
    having: Count
    """worse users who have it"""
    worse: Count
    """all worse users"""
    users: Count
    """all users who have it"""
    chance: Fraction
    """of so many if nothing compared had to do with service"""


@dataclass(frozen=True)
class GroupCapacity:
    """What each group's own replies say of the total number of users at which it stops being served."""

    worse_users: Count
    """of `users`, those who belong to the worse group"""
    users: Load
    """the largest level with two groups of which the better one is served; if none is, the largest with two groups"""
    worse: Amount | None
    worse_interval: Interval | None
    others: Amount | None
    others_interval: Interval | None
    shared: SharedTrait | None = None
    """null if nothing that is known of the users tells the groups apart beyond chance"""


@dataclass(frozen=True)
class LevelEstimate:
    """One number of users, all its visits together."""

    users: int
    visits: int
    replies: int
    seconds: float
    served_share: float
    share_low: float
    share_high: float
    """95 % limits of the served share"""
    share_fit: float
    """served share of the fit that never rises with users"""
    broken_share: float
    broken_high: float
    """upper limit of the broken share"""
    state: State
    reasons: tuple[Reason, ...]
    """why it is unproven; empty otherwise"""
    users_differ: bool
    worse_group: UserGroup | None
    replies_needed: int | None
    """further replies that would probably prove it; None: it is proven, or too close to tell in reasonable time"""
    seconds_needed: float | None
    """the same at this level's rate of replies"""
    people: int | None = None
    """users whose replies were judged, where these are only one kind of the users; of an open stream about how many
    replies are in flight"""


@dataclass(frozen=True)
class Dispersion:
    """How far replies of one moment share one fate, pooled over levels near the limit."""

    phi: Amount
    """variance of a served share over that of independent replies, at the level nearest to the limit"""
    nu: Amount
    """degrees of freedom behind it"""
    lag: float
    """correlation of neighbouring blocks"""
    icc: Fraction
    """intraclass correlation within a block"""
    source: Literal["blocks", "ramp", "prior"]


@dataclass(frozen=True)
class Suggestion:
    """What the data suggest, proven or not."""

    users: Load
    low: Load
    high: Load | None


@dataclass(frozen=True)
class CapacityEstimate:
    """Everything that the judged replies say about capacity."""

    levels: tuple[LevelEstimate, ...]
    estimate: float | None
    """where the served share crosses the limit; None where people differ or replies break too often"""
    interval: Interval | None
    bracket: Bracket
    served_users: int | None
    suggestion: Suggestion | None
    dispersion: Dispersion
    drift: tuple[int, ...]
    """levels whose visits differ by more than chance"""
    contradictions: tuple[int, ...]
    """levels that did worse than a higher one by more than chance"""
    disturbed: tuple[int, ...]
    """levels with a visit that was left out because of one bad stretch"""
    users_differ: bool
    groups: GroupCapacity | None
    placed_by_curve: bool
    """whether `estimate` lies between levels because a curve places it there"""
    unsteady: tuple[int, ...] = ()
    """levels whose visits differ by more than stretches of one visit do"""
    uneven: tuple[int, ...] = ()
    """levels whose visits differ by no more than that, but by more than independent replies would"""
    parts: "Mapping[str, CapacityEstimate]" = field(default_factory=dict)
    """by kind of user, of which this one is put together; empty where all users are of one kind"""

    def level(self, users: int) -> LevelEstimate | None:
        """Return the level with this number of users."""
        return next((level for level in self.levels if level.users == users), None)
