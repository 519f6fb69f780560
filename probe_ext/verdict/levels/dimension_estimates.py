"""The same estimate for all dimensions together and for each alone: what limits first, and what costs each level."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.grading.reply_grades import GradedReplies
from probe_ext.verdict.inference.estimate import estimate
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

    @property
    def limit(self) -> float:
        """The served share that a level needs."""
        return self.criteria.served_share

    @property
    def first_limit(self) -> str | None:
        """The dimension that costs most where users first fall short; None where no single one does."""
        levels = self.overall.levels
        short = next((level for level in levels if level.share_fit < self.limit or level.state == "failed"), None)
        if short is None:
            return None
        shares, broken = self._shares_at(short.users), self._broken_at(short.users)
        worst = min(shares, key=shares.__getitem__, default=None)
        breaks = max(broken, key=broken.__getitem__, default=None)
        if worst is not None and shares[worst] < self.limit:
            return worst
        return breaks if breaks is not None and broken[breaks] > self.criteria.broken_share else None

    def costs(self, users: int) -> tuple[str, ...]:
        """Return the dimensions that make a level fall short, the worst first; else those that cost any reply."""
        shares = self._shares_at(users)
        ordered = sorted((name for name in shares if shares[name] < 1), key=lambda name: shares[name])
        return tuple([name for name in ordered if shares[name] < self.limit] or ordered)

    def _shares_at(self, users: int) -> dict[str, float]:
        return {name: level.served_share for name, level in self._alone_at(users).items()}

    def _broken_at(self, users: int) -> dict[str, float]:
        return {name: level.broken_share for name, level in self._alone_at(users).items()}

    def _alone_at(self, users: int) -> dict[str, LevelEstimate]:
        found = {name: one.level(users) for name, one in self.alone.items()}
        return {name: level for name, level in found.items() if level is not None}


def estimate_dimensions(
    assignment: LevelAssignment,
    graded: GradedReplies,
    sent: Floats,
    faults: Bools,
    profile: SloProfile,
    critical: float | None = None,
) -> DimensionEstimates:
    """Estimate capacity by everything, then by each dimension of the profile. `critical`: as `estimate` takes it."""
    criteria = criteria_of(profile)

    def estimated(dimension: str | None) -> CapacityEstimate:
        visits = visits_of(assignment, graded, sent, faults, profile, dimension)
        return estimate(visits, criteria, critical=critical)

    judged = [
        name
        for name in DIMENSIONS
        if (name == "answer" or getattr(profile, name) is not None) and bool(np.any(graded.by[name] >= 0))
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
