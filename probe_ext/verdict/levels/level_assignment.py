"""Assignment of replies to the levels and users of a run."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.table_rows import WARM_UP
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.levels.find_levels import Level, assign_replies, drain_times, find_levels
from probe_ext.verdict.values.columns import Bools, Floats, Ints, coded, numbers, texts
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.manifest_view import absences, number


@dataclass(frozen=True)
class LevelAssignment:
    """Which reply was sent in which level, by which user."""

    levels: Sequence[Level]
    level_of: Ints
    """index of the level; −1 outside all levels"""
    user_of: Ints
    users: int
    """number of users of the run"""
    min_replies: int
    """judged replies that most users of a level need"""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of levels and of users."""
        return len(self.levels), self.users

    @property
    def proven(self) -> Bools:
        """Mask of the levels that may prove something: all but bands."""
        return np.array([not level.band for level in self.levels], dtype=np.bool_)


SCRIPTED_PLAN: Mapping[str, float] = {"settle": 0.0, "hold": 0.0}
"""Plan of a scenario that ends by itself: it marks its own warm-up replies and may be of any length."""


def sent_at(evidence: Evidence) -> Floats:
    """Return when each reply was sent; if it never was, when it was due."""
    sent, due = numbers(evidence.replies, "sent"), numbers(evidence.replies, "due")
    return np.where(np.isnan(sent), due, sent)


def assign_levels(evidence: Evidence, profile: SloProfile, sent: Floats) -> LevelAssignment:
    """Find the levels of a run and assign its replies to them."""
    plan = evidence.manifest.get("plan")
    plan = plan if isinstance(plan, Mapping) else None
    if plan is None and evidence.manifest.get("end_reason") == "scenario_done":
        plan = SCRIPTED_PLAN
    last_sent = float(np.nanmax(sent)) if (~np.isnan(sent)).any() else None
    levels = find_levels(evidence.users, plan, last_sent, absences(evidence.manifest), drain_times(evidence.replies))
    user_of, names = coded(texts(evidence.replies, "user"))
    min_replies = number(plan, "min_replies", profile.level.min_replies) if plan else profile.level.min_replies
    warm_up = np.array([name == WARM_UP for name in texts(evidence.replies, "scenario")], dtype=np.bool_)
    level_of = np.where(warm_up, -1, assign_replies(sent, levels))
    return LevelAssignment(levels, level_of, user_of, len(names), max(1, int(min_replies)))


def rows_by_level(scene: LevelAssignment) -> list[Ints]:
    """Return the row indices of the replies of each level."""
    order = np.argsort(scene.level_of, kind="stable")
    edges = np.searchsorted(scene.level_of[order], np.arange(len(scene.levels) + 1))
    return [order[a:b] for a, b in itertools.pairwise(edges)]
