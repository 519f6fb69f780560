"""The estimate of a virtual run, made as the verdict makes it."""

from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.grading.kind_profiles import KindProfiles
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.observations import Visit
from probe_ext.verdict.levels.grade_levels import grade_levels
from probe_ext.verdict.levels.level_assignment import assign_levels, sent_at
from probe_ext.verdict.levels.visits import client_faults, criteria_of, visits_of
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from scripts.study.truth import chat


def estimate_run(evidence: Evidence) -> CapacityEstimate:
    """Estimate a whole run; a search allows for its looks."""
    search = (evidence.manifest.get("plan") or {}).get("search") or {}
    return estimate(run_visits(evidence, chat()), criteria_of(chat()), critical=search.get("critical"))


def run_visits(evidence: Evidence, profile: SloProfile) -> list[Visit]:
    """Return every level and band of a run as a visit, in order of time."""
    sent = sent_at(evidence)
    assignment = assign_levels(evidence, sent)
    graded = grade_levels(evidence, KindProfiles(profile), None, assignment)
    return visits_of(assignment, graded, sent, client_faults(evidence.replies), profile)
