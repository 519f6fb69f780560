"""What is judged: the levels and users of a run, and which reply belongs to which."""

from collections.abc import Mapping

import numpy as np

from probe_ext.measure.table_rows import WARM_UP
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.levels.find_levels import find_levels, free_from, place
from probe_ext.verdict.levels.level_judgement import Scene
from probe_ext.verdict.values.columns import Floats, coded, numbers, texts
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.manifest_view import absences, number

WARMS_ITSELF: Mapping[str, float] = {"settle": 0.0, "hold": 0.0}
"""the plan of a scenario that ends by itself: it also says itself which replies only warm up, however short it is"""


def sent_at(evidence: Evidence) -> Floats:
    """When each reply was sent; where it never was, when it was due."""
    sent, due = numbers(evidence.replies, "sent"), numbers(evidence.replies, "due")
    return np.where(np.isnan(sent), due, sent)


def scene_of(evidence: Evidence, profile: SloProfile, sent: Floats) -> Scene:
    plan = evidence.manifest.get("plan")
    plan = plan if isinstance(plan, Mapping) else None
    if plan is None and evidence.manifest.get("end_reason") == "scenario_done":
        plan = WARMS_ITSELF
    last = float(np.nanmax(sent)) if (~np.isnan(sent)).any() else None
    levels = find_levels(evidence.users, plan, last, absences(evidence.manifest), free_from(evidence.replies))
    user_of, names = coded(texts(evidence.replies, "user"))
    wanted = number(plan, "min_replies", profile.level.min_replies) if plan else profile.level.min_replies
    warming = np.array([name == WARM_UP for name in texts(evidence.replies, "scenario")], dtype=np.bool_)
    level_of = np.where(warming, -1, place(sent, levels))
    return Scene(levels, level_of, user_of, len(names), max(1, int(wanted)))
