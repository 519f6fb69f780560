"""From visits to what is proven of each level: which replies are sound, what they are worth, and what they show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.inference import level_proofs as proofs
from probe_ext.verdict.inference.dispersion import Pooled, level_factors, pool, visit_sums
from probe_ext.verdict.inference.disturbances import compare_visits, find_drift, leave_out_disturbed
from probe_ext.verdict.inference.level_proofs import BrokenReplies, EffectiveCounts, effective_counts, judge_broken
from probe_ext.verdict.inference.observations import Level, Visit, group_by_users
from probe_ext.verdict.inference.quantiles import CONTRADICTION_ERROR, normal_quantile, student_quantile
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
    critical: float
    """standard errors that prove that a level holds or fails"""
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

    def users_at(self, which: Bools) -> tuple[int, ...]:
        """Return the users of some levels."""
        return tuple(level.users for level, chosen in zip(self.levels, which, strict=True) if chosen)


def gather(
    visits: Sequence[Visit], criteria: Criteria, critical: float | None, *, alike: bool = False
) -> LevelEvidence:
    """Weigh the replies of all visits.

    `critical`: see `estimate`. `alike`: take it for granted that users do not differ.
    """
    levels, limit = group_by_users(visits), criteria.served_share
    sound_levels = leave_out_disturbed(levels, pool(visit_sums(levels), limit), limit)
    sums = visit_sums(sound_levels)
    pooled = pool(sums, limit)  # what is left out must not make the rest look dispersed either
    scale = 1.0 if critical is None else critical / normal_quantile(1 - criteria.error)
    proof, contradiction = (student_quantile(1 - e, pooled.nu) * scale for e in (criteria.error, CONTRADICTION_ERROR))
    comparison = compare_users(() if alike else levels, criteria, searching=critical is not None)
    groups = _gather_groups(visits, comparison, criteria, critical)

    sound = _count(sound_levels, pooled)
    contradicting = proofs.find_contradictions(sound, limit, contradiction)
    sound = sound.without(contradicting)
    too_slow = proofs.evidence_of_failing(sound, limit) > proof
    broken = judge_broken(sound_levels, too_slow, criteria, scale)
    served_alike = np.ones(len(levels), dtype=np.bool_)
    if comparison.differ:
        # Those who need not be served must not be what makes a level fail.
        rest = [without_worst(level, comparison.residuals, 1 - criteria.users_share) for level in sound_levels]
        too_slow = proofs.evidence_of_failing(_count(rest, pooled).without(contradicting), limit) > proof
    if not comparison.rest_alike:
        served_alike = no_group_suffers_up_to(levels, limit, criteria.users_share)
    # What higher levels show does not prove a level whose own replies say otherwise.
    disturbed = np.array([not level.replies for level in sound_levels], dtype=np.bool_)
    held = (proofs.evidence_of_holding(sound, limit) > proof) & (served_alike | _held_by_each_group(levels, groups))
    held = held & broken.allows_holding & ~contradicting & ~disturbed
    failed = too_slow | broken.fails
    unsteady, uneven = compare_visits(sums, pooled)
    return LevelEvidence(
        levels=levels,
        pooled=pooled,
        critical=proof,
        counts=_count(levels, pooled),
        sound=sound,
        disturbed=disturbed,
        visits_left_out=np.array([a is not b for a, b in zip(sound_levels, levels, strict=True)], np.bool_),
        contradicting=contradicting,
        outvoted=proofs.falls_short_alone(sound, limit, proof) & ~failed,
        drift=tuple(levels[i].users for i in find_drift(sums, pooled, contradiction)),
        unsteady=tuple(levels[i].users for i in unsteady),
        uneven=tuple(levels[i].users for i in uneven),
        comparison=comparison,
        groups=groups,
        served_alike=served_alike,
        broken=broken,
        fit=proofs.monotone_fit(sound),
        held=held & ~failed,
        failed=failed & ~held,
    )


def _count(levels: Sequence[Level], pooled: Pooled) -> EffectiveCounts:
    sums = visit_sums(levels)
    return effective_counts(sums.by_level(sums.hits), sums.by_level(sums.replies), level_factors(sums, pooled))


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
