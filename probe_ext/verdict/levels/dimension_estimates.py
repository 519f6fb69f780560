"""The same estimate for all dimensions together and for each alone: what limits first, and what costs each level.

Where there are kinds of user, each is estimated so, and the run is what all of them need.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.evidence.text_columns import TextColumn
from probe_ext.verdict.grading.kind_profiles import Kind, KindProfiles, kind_codes
from probe_ext.verdict.grading.reply_grades import GradedReplies
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.observations import Visit
from probe_ext.verdict.levels.all_kinds import combine, split_critical, split_error
from probe_ext.verdict.levels.level_assignment import LevelAssignment
from probe_ext.verdict.levels.visits import criteria_of, visits_of
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, Criteria, LevelEstimate
from probe_ext.verdict.values.dimension_result import DimensionLevel, DimensionResult
from probe_ext.verdict.values.json_types import DIMENSIONS


@dataclass(frozen=True)
class DimensionEstimates:
    """All dimensions together, and each alone that the profile judges and any reply could be judged by."""

    overall: CapacityEstimate
    alone: Mapping[str, CapacityEstimate]
    criteria: Criteria
    kinds: "tuple[KindEstimates, ...]" = ()
    """of each kind of user that has a judged reply, where there are several"""

    @property
    def limit(self) -> float:
        """The served share that a level needs."""
        return self.criteria.served_share

    @property
    def first_limit(self) -> str | None:
        """The dimension that costs most where users first fall short; None where no single one does."""
        if self.kinds:
            first = self.first_kind
            return first.estimates.first_limit if first else None
        short = self.first_short
        if short is None:
            return None
        shares, broken = self._shares_at(short.users), self._broken_at(short.users)
        worst = min(shares, key=lambda name: (shares[name], -broken.get(name, 0.0)), default=None)
        breaks = max(broken, key=broken.__getitem__, default=None)
        if worst is not None and shares[worst] < self.limit:
            return worst
        return breaks if breaks is not None and broken[breaks] > self.criteria.broken_share else None

    @property
    def first_short(self) -> LevelEstimate | None:
        """The lowest level that falls short."""
        levels = self.overall.levels
        return next((level for level in levels if level.share_fit < self.limit or level.state == "failed"), None)

    @property
    def first_kind(self) -> "KindEstimates | None":
        """The kind of user that falls short first; None where none does."""
        short = [(kind, level) for kind in self.kinds if (level := kind.estimates.first_short) is not None]
        ordered = sorted(short, key=lambda one: (one[1].users, one[1].share_fit - one[0].estimates.limit))
        return ordered[0][0] if ordered else None

    def costs(self, users: int) -> tuple[str, ...]:
        """Return the dimensions that make a level fall short, the worst first; else those that cost any reply."""
        if self.kinds:
            short = [kind.estimates for kind in self.kinds if kind.estimates.falls_short(users)]
            of_each = [one.costs(users) for one in short or [kind.estimates for kind in self.kinds]]
            return tuple(dict.fromkeys(name for names in itertools.zip_longest(*of_each) for name in names if name))
        shares, broken = self._shares_at(users), self._broken_at(users)
        ordered = sorted(
            (name for name in shares if shares[name] < 1), key=lambda name: (shares[name], -broken.get(name, 0.0))
        )
        return tuple([name for name in ordered if shares[name] < self.limit] or ordered)

    def falls_short(self, users: int) -> bool:
        """Tell whether a level serves less than it needs."""
        level = self.overall.level(users)
        return level is not None and (level.served_share < self.limit or level.state == "failed")

    def _shares_at(self, users: int) -> dict[str, float]:
        return {name: level.served_share for name, level in self._alone_at(users).items()}

    def _broken_at(self, users: int) -> dict[str, float]:
        return {name: level.broken_share for name, level in self._alone_at(users).items()}

    def _alone_at(self, users: int) -> dict[str, LevelEstimate]:
        found = {name: one.level(users) for name, one in self.alone.items()}
        return {name: level for name, level in found.items() if level is not None}


@dataclass(frozen=True)
class KindEstimates:
    """The same of one kind of user, by its own replies and profile."""

    kind: Kind
    estimates: DimensionEstimates
    visits: Sequence[Visit] = ()
    """by level, the same levels in the same order for every kind"""


@dataclass(frozen=True)
class JudgedReplies:
    """Graded replies with what the estimator needs to know of them."""

    assignment: LevelAssignment
    graded: GradedReplies
    sent: Floats
    left_out: Bools
    scenarios: TextColumn
    critical: float | None = None
    """as `estimate` takes it"""


def estimate_dimensions(replies: JudgedReplies, profiles: KindProfiles) -> DimensionEstimates:
    """Estimate capacity by everything, then by each dimension of the profile; of kinds of user, what all need."""
    pooled = _estimate(replies, profiles.default, criteria_of(profiles.default), replies.critical, kinds=profiles.kinds)
    if not profiles.kinds:
        return pooled
    return combine_kinds(pooled, estimate_kinds(replies, profiles.kinds, share_error=True))


def estimate_kinds(replies: JudgedReplies, kinds: Sequence[Kind], *, share_error: bool) -> tuple[KindEstimates, ...]:
    """Estimate the same for each kind of user that has a judged reply in any level.

    `share_error`: among kinds that the run needs all of.
    """
    codes = kind_codes(replies.scenarios, kinds)
    judged = replies.assignment.in_judged_levels
    present = [code for code in range(len(kinds)) if bool(((codes == code) & judged).any())]
    of = len(present) if share_error else 1
    made = [
        KindEstimates(
            kinds[code],
            _estimate(
                replies,
                kinds[code].profile,
                split_error(criteria_of(kinds[code].profile), of),
                split_critical(replies.critical, of),
                codes == code,
            ),
            visits_of_kind(replies, kinds[code].profile, codes == code),
        )
        for code in present
    ]
    return tuple(one for one in made if one.estimates.overall.levels)


def visits_of_kind(replies: JudgedReplies, profile: SloProfile, mine: Bools) -> list[Visit]:
    """Return the visits of one kind of user, judged by everything."""
    return visits_of(replies.assignment, replies.graded, replies.sent, replies.left_out, profile, kind=mine)


def combine_kinds(pooled: DimensionEstimates, kinds: tuple[KindEstimates, ...]) -> DimensionEstimates:
    """Return what all kinds need. `pooled`: of all replies together."""
    if not kinds:
        return pooled
    alone = {
        name: combine(
            one, {kind.kind.name: kind.estimates.alone[name] for kind in kinds if name in kind.estimates.alone}
        )
        for name, one in pooled.alone.items()
    }
    overall = combine(pooled.overall, {kind.kind.name: kind.estimates.overall for kind in kinds})
    return DimensionEstimates(overall, alone, pooled.criteria, kinds)


def _estimate(
    replies: JudgedReplies,
    profile: SloProfile,
    criteria: Criteria,
    critical: float | None,
    mine: Bools | None = None,
    kinds: Sequence[Kind] = (),
) -> DimensionEstimates:
    """`mine`: the replies of one kind; None for all. `kinds`: whose profiles judge these replies, too."""
    by, profiles = replies.graded.by, [profile, *(kind.profile for kind in kinds)]

    def estimated(dimension: str | None) -> CapacityEstimate:
        visits = visits_of(
            replies.assignment, replies.graded, replies.sent, replies.left_out, profile, dimension, kind=mine
        )
        return estimate(visits, criteria, critical=critical)

    judged = [
        name
        for name in DIMENSIONS
        if (name == "answer" or any(getattr(one, name) is not None for one in profiles))
        and bool(np.any((by[name] if mine is None else by[name][mine]) >= 0))
    ]
    return DimensionEstimates(estimated(None), {name: estimated(name) for name in judged}, criteria)


def dimension_results(estimates: DimensionEstimates) -> dict[str, DimensionResult]:
    """Return what the capacity would be if only one dimension counted."""
    return {
        name: DimensionResult(
            served_users=one.served_users,
            interval=one.interval,
            bracket=one.bracket,
            levels=tuple(_level(level) for level in one.levels),
        )
        for name, one in estimates.alone.items()
    }


def _level(level: LevelEstimate) -> DimensionLevel:
    return DimensionLevel(users=level.users, state=level.state, served_share=level.served_share)
