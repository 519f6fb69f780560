"""From visits to what is proven of each level: which replies are sound, what they are worth, and what they show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.inference import level_proofs as proofs
from probe_ext.verdict.inference.broken_replies import BrokenReplies, judge_broken
from probe_ext.verdict.inference.critical_values import CriticalValues
from probe_ext.verdict.inference.dispersion import Pooled, pool
from probe_ext.verdict.inference.disturbances import leave_out_disturbed
from probe_ext.verdict.inference.level_dispersion import compare_visits, find_drift, level_factors
from probe_ext.verdict.inference.level_proofs import EffectiveCounts, effective_counts
from probe_ext.verdict.inference.observations import Level, Visit, group_by_users
from probe_ext.verdict.inference.user_differences import (
    UserComparison,
    compare_users,
    no_group_suffers_up_to,
    split_visits,
    without_worst,
)
from probe_ext.verdict.values.capacity_estimate import Criteria


@dataclass(frozen=True)
class LevelEvidence:
    """Everything by level, in order of rising users."""

    levels: tuple[Level, ...]
    """with all their replies"""
    pooled: Pooled
    bounds: CriticalValues
    counts: EffectiveCounts
    """of all replies"""
    sound: EffectiveCounts
    """without what was disturbed or contradicts higher levels"""
    disturbed: Bools
    """levels that a disturbance left without a sound visit"""
    visits_left_out: Bools
    """levels of which a disturbed visit does not count"""
    contradicting: Bools
    outvoted: Bools
    """levels that would fail by their own replies, if those above did not make it doubtful"""
    drift: tuple[int, ...]
    """users of levels whose visits differ by more than chance"""
    unsteady: tuple[int, ...]
    """users of levels whose visits differ by more than stretches of one visit do"""
    uneven: tuple[int, ...]
    """by no more than those, but by more than independent replies would"""
    comparison: UserComparison
    groups: "tuple[LevelEvidence, LevelEvidence] | None"
    """of the users who are worse off alone, and of the others, where users differ"""
    served_alike: Bools
    """levels at which no user who has to be served may be worse off than the others"""
    broken: BrokenReplies
    fit: Floats
    """served shares that never rise with users"""
    held: Bools
    failed: Bools

    @property
    def users(self) -> Floats:
        return np.array([level.users for level in self.levels], dtype=np.float64)

    @property
    def has_one_curve(self) -> bool:
        """Whether one falling curve may describe all replies."""
        plain = not self.comparison.differ and not self.broken.above.any()
        return plain and not self.contradicting.any()


def gather(
    visits: Sequence[Visit], criteria: Criteria, critical: float | None, *, alike: bool = False
) -> LevelEvidence:
    """Weigh the replies of all visits. `alike`: take it for granted that users do not differ."""
    levels = group_by_users(visits)
    limit = criteria.served_share
    pooled = pool(levels, limit)
    bounds = CriticalValues.of(criteria.error, pooled.nu, critical)
    sound_levels = leave_out_disturbed(levels, pooled, limit)
    left_out = np.array([len(a.visits) < len(b.visits) for a, b in zip(sound_levels, levels, strict=True)], np.bool_)
    if left_out.any():
        # What is left out must not make the rest look dispersed either.
        pooled = pool(sound_levels, limit)
        bounds = CriticalValues.of(criteria.error, pooled.nu, critical)
    comparison = compare_users(() if alike else levels, criteria, searching=critical is not None)
    sound = _count(sound_levels, pooled)
    contradicting = proofs.find_contradictions(sound, limit, bounds.contradiction)
    sound = sound.without(contradicting)
    too_slow = proofs.evidence_of_failing(sound, limit) > bounds.proof
    broken = judge_broken(sound_levels, too_slow, criteria, critical)
    if comparison.differ:
        # Those who need not be served must not be what makes a level fail.
        rest = [without_worst(level, comparison.residuals, 1 - criteria.users_share) for level in sound_levels]
        too_slow = proofs.evidence_of_failing(_count(rest, pooled).without(contradicting), limit) > bounds.proof
    groups = _gather_groups(visits, comparison, criteria, critical)
    held = proofs.evidence_of_holding(sound, limit) > bounds.proof
    served_alike = np.ones(len(levels), dtype=np.bool_)
    if not comparison.rest_alike:
        served_alike = no_group_suffers_up_to(levels, limit, criteria.users_share)
        held = held & (served_alike | _held_by_each_group(levels, groups))
    disturbed = np.array([not level.replies for level in sound_levels], dtype=np.bool_)
    # What higher levels show does not prove a level whose own replies say otherwise.
    held = held & broken.allows_holding & ~contradicting & ~disturbed
    failed = too_slow | broken.fails
    both = held & failed
    unsteady, uneven = compare_visits(sound_levels, pooled)
    return LevelEvidence(
        levels=levels,
        pooled=pooled,
        bounds=bounds,
        counts=_count(levels, pooled),
        sound=sound,
        disturbed=disturbed,
        visits_left_out=left_out,
        contradicting=contradicting,
        outvoted=proofs.falls_short_alone(sound, limit, bounds.proof) & ~failed,
        drift=find_drift(sound_levels, pooled, bounds.contradiction),
        unsteady=unsteady,
        uneven=uneven,
        comparison=comparison,
        groups=groups,
        served_alike=served_alike,
        broken=broken,
        fit=proofs.monotone_fit(sound),
        held=held & ~both,
        failed=failed & ~both,
    )


def _count(levels: Sequence[Level], pooled: Pooled) -> EffectiveCounts:
    served = np.array([float(level.served) for level in levels])
    replies = np.array([float(level.replies) for level in levels])
    phi = level_factors(levels, pooled, [[blocks.served for blocks in level.blocks] for level in levels])
    return effective_counts(served, replies, phi)


def _gather_groups(
    visits: Sequence[Visit], comparison: UserComparison, criteria: Criteria, critical: float | None
) -> tuple[LevelEvidence, LevelEvidence] | None:
    split = split_visits(visits, comparison.residuals) if comparison.differ else None
    if split is None:
        return None
    worse, others = split
    return gather(worse, criteria, critical, alike=True), gather(others, criteria, critical, alike=True)


def _held_by_each_group(levels: Sequence[Level], groups: tuple[LevelEvidence, LevelEvidence] | None) -> Bools:
    """Return the levels at which the worse group and the others hold, each by its own replies."""
    highest = min(int(max(group.users[group.held], default=0)) for group in groups) if groups else 0
    return np.array([level.users <= highest for level in levels], dtype=np.bool_)
