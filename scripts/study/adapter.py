"""From evidence to the estimator, as the verdict does it: find levels, grade replies as they stood, make visits."""

import numpy as np
from probe_ext.verdict.levels.scene import scene_of, sent_at
from probe_ext.verdict.levels.truncate import as_of, moments

from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.grading.reply_grades import judge_replies
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.observations import Visit, visit_from_grades
from probe_ext.verdict.levels.find_levels import find_stretches
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, Criteria
from probe_ext.verdict.values.columns import texts
from probe_ext.verdict.values.evidence import Evidence
from scripts.study.truth import chat


def estimate_run(evidence: Evidence) -> CapacityEstimate:
    """The estimate of a whole run; a search allows for its looks."""
    search = (evidence.manifest.get("plan") or {}).get("search") or {}
    return estimate(visits_of(evidence, chat()), criteria(), critical=search.get("critical"))


def criteria() -> Criteria:
    return Criteria(chat().users.served_share, chat().users.broken_share, chat().level.served_share)


def visits_of(evidence: Evidence, profile: SloProfile) -> list[Visit]:
    """Every level and band of a run as a visit, in order of time."""
    sent = sent_at(evidence)
    scene = scene_of(evidence, profile, sent)
    stood = as_of(evidence.replies, moments(scene.levels, find_stretches(evidence.users, None), scene.level_of))
    grades = judge_replies(stood, profile, profile.reasoning).overall
    own_fault = np.array([outcome == "client_error" for outcome in texts(stood, "outcome")], dtype=np.bool_)
    last_seconds = profile.first_word.served if profile.first_word else 0.0
    visits = []
    for number, level in enumerate(scene.levels):
        rows = (scene.level_of == number) & ~own_fault
        span = (level.t_start, level.t_end)
        visits.append(visit_from_grades(level.users, scene.user_of[rows], sent[rows], grades[rows], span, last_seconds))
    return visits
