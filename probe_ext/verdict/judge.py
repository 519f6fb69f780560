"""Judge a run: evidence and an SLO profile in, the judgement out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from probe_ext.measure.table_rows import DEADLINE_COLUMNS
from probe_ext.settings.slo import REASONINGS, Reasoning, SloProfile, profile_of_run
from probe_ext.verdict.checks.equal_failures import equal_failures
from probe_ext.verdict.checks.other_load import unjudged_users
from probe_ext.verdict.checks.outage import outage
from probe_ext.verdict.checks.run_checks import run_checks
from probe_ext.verdict.diagnosis.diagnose import diagnose
from probe_ext.verdict.diagnosis.facts.diagnosis_input import facts_of
from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import mapping, number
from probe_ext.verdict.grading.reply_grades import GradedReplies, asked_at
from probe_ext.verdict.levels.dimension_estimates import DimensionEstimates, dimension_results, estimate_dimensions
from probe_ext.verdict.levels.level_assignment import LevelAssignment, assign_levels, sent_at
from probe_ext.verdict.levels.shared_trait import shared_trait
from probe_ext.verdict.levels.visits import client_faults, criteria_of, grade_levels, visits_of
from probe_ext.verdict.results.assemble import JudgedRun, level_results
from probe_ext.verdict.results.cold_user import arms_of, cold_user, cold_user_checks
from probe_ext.verdict.results.gpu_use import gpu_use
from probe_ext.verdict.results.slo_metrics import goodput
from probe_ext.verdict.results.team_size import Given, at_capacity, cost, team
from probe_ext.verdict.server.find_pauses import find_pauses, threshold
from probe_ext.verdict.server.generation import with_generation
from probe_ext.verdict.server.others import others_by_level
from probe_ext.verdict.server.pause_context import pause_context
from probe_ext.verdict.server.pause_summary import pauses
from probe_ext.verdict.server.server_series import Metrics, read_metrics, usable_metrics
from probe_ext.verdict.server.standing_still import standing_still
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.judgement import ByReasoning, Judgement, Mode
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.pause_types import Pauses
from probe_ext.verdict.values.ruling_types import Diagnosis
from probe_ext.verdict.wording.early_end import ALL_WITH_OTHERS, why_nothing
from probe_ext.verdict.wording.headline import Context, answer
from probe_ext.verdict.wording.next_run import NextMeasurement, next_command, next_measurement, next_step

NOTHING_GIVEN = Given()
MAX_CRITICAL = 10.0
"""Standard errors: a manifest that asks for less than one or more than this is damaged."""


@dataclass(frozen=True)
class _View:
    """The run judged with reasoning shown, or hidden."""

    graded: GradedReplies
    estimates: DimensionEstimates

    @property
    def mode(self) -> Mode:
        overall = self.estimates.overall
        return Mode(overall.served_users, overall.bracket, self.estimates.first_limit)


@dataclass(frozen=True)
class _Estimated:
    """The levels of a run, and what the estimator says of them."""

    assignment: LevelAssignment
    metrics: Metrics
    views: Mapping[Reasoning, _View]
    overall: CapacityEstimate
    left_out: tuple[Finding, ...]
    """why replies are left out of the estimate"""


def judge(
    evidence: Evidence, profile: SloProfile, *, reasoning: Reasoning | None = None, given: Given = NOTHING_GIVEN
) -> Judgement:
    """Determine how many concurrent users the server keeps served, how sure that is, and what limits it first.

    `reasoning` overrides the profile's; `given` turns a capacity into a team size and a cost. Whatever a run's files
    lack becomes a finding; nothing raises.
    """
    mode: Reasoning = reasoning or profile.reasoning
    evidence = _without_foreign_deadlines(replace(evidence, replies=with_generation(evidence)), profile)
    run = _estimate(evidence, profile, mode)
    assignment, metrics, overall, view = run.assignment, run.metrics, run.overall, run.views[mode]
    levels = level_results(evidence, JudgedRun(assignment, view.graded, view.estimates), metrics)
    arms = arms_of(evidence.replies, view.graded.experience.waited, assignment.level_of)
    cold = cold_user(arms, metrics, profile)
    checked = run_checks(evidence, levels, metrics, overall, run.left_out, view.graded)
    findings = (*checked, *cold_user_checks(arms, cold))
    facts = facts_of(evidence, levels, metrics, findings, profile.users.served_share)
    diagnosis = diagnose(facts)
    verdict = _verdict(overall.served_users, any(finding.makes_invalid for finding in findings))
    proven = overall.bracket[0] if verdict == "valid" else None
    undisturbed = tuple(level for level in levels if level.judged)
    at = at_capacity(evidence, asked_at(evidence.replies, profile), undisturbed, proven)
    team_size = team(at, given.think_time)
    more = None if verdict == "invalid" else next_measurement(evidence.manifest, overall, criteria_of(profile))
    in_words = answer(overall, _context(evidence, view.estimates, levels, findings, diagnosis, more))
    return Judgement(
        verdict=verdict,
        sentence=in_words.sentence,
        answer=in_words,
        served_users=overall.served_users,
        estimate=overall.estimate,
        interval=overall.interval,
        bracket=overall.bracket,
        suggestion=overall.suggestion,
        breaks_first=view.estimates.first_limit,
        levels=levels,
        dimensions=dimension_results(view.estimates),
        cold_user=cold,
        pauses=_pauses(evidence, profile, assignment, metrics),
        goodput=goodput(undisturbed),
        team=team_size,
        cost=cost(at, team_size, given.price_per_hour),
        gpu=gpu_use(evidence, levels, proven),
        next_step=next_step(more, overall),
        next_command=next_command(evidence.manifest, overall, more, invalid=verdict == "invalid"),
        dispersion=overall.dispersion,
        drift=overall.drift,
        contradictions=overall.contradictions,
        disturbed=overall.disturbed,
        groups=overall.groups,
        reasoning=ByReasoning(mode, run.views["shown"].mode, run.views["hidden"].mode),
        profile=profile.model_dump(mode="json"),
        findings=findings,
        diagnosis=diagnosis,
        kv_headroom=facts.headroom,
        replies=len(assignment.level_of),
        replies_outside=int((assignment.level_of < 0).sum()),
    )


def _estimate(evidence: Evidence, profile: SloProfile, mode: Reasoning) -> _Estimated:
    sent, metrics = sent_at(evidence), usable_metrics(read_metrics(evidence.server))
    still = standing_still(metrics, evidence.server, evidence.replies)
    metrics = {} if still is not None and still.always else metrics
    assignment = assign_levels(evidence, sent)
    assignment = replace(assignment, others=others_by_level(evidence, assignment.levels, metrics))
    unexplained, down = equal_failures(evidence), outage(evidence)
    left_out = client_faults(evidence.replies) | unexplained.mask | down.mask
    views = {name: _view(evidence, profile, name, assignment, sent, left_out) for name in REASONINGS}
    overall = _with_shared_trait(views[mode], evidence, profile, assignment, sent, left_out)
    return _Estimated(assignment, metrics, views, overall, (unexplained.finding, down.finding))


def _view(
    evidence: Evidence,
    profile: SloProfile,
    mode: Reasoning,
    assignment: LevelAssignment,
    sent: Floats,
    left_out: Bools,
) -> _View:
    graded = grade_levels(evidence, profile, mode, assignment)
    critical = number(mapping(mapping(evidence.manifest.get("plan")).get("search")), "critical")
    critical = critical if critical is not None and 1 <= critical <= MAX_CRITICAL else None
    return _View(graded, estimate_dimensions(assignment, graded, sent, left_out, profile, critical))


def _context(
    evidence: Evidence,
    estimates: DimensionEstimates,
    levels: Sequence[LevelResult],
    findings: Sequence[Finding],
    diagnosis: Diagnosis,
    more: NextMeasurement | None,
) -> Context:
    """Return what the sentence needs besides the estimate."""
    all_with_others = levels and not any(level.judged for level in levels)
    return Context(
        first_limit=estimates.first_limit,
        needed_share=estimates.limit,
        findings=findings,
        bounds=diagnosis.bounds,
        why_no_level=ALL_WITH_OTHERS if all_with_others else why_nothing(evidence.manifest),
        next_measurement=more,
        unjudged=unjudged_users(levels),
    )


def _with_shared_trait(
    view: _View, evidence: Evidence, profile: SloProfile, assignment: LevelAssignment, sent: Floats, left_out: Bools
) -> CapacityEstimate:
    """Return the estimate, with what the users share who are served worse."""
    overall = view.estimates.overall
    if overall.groups is None:
        return overall
    visits = visits_of(assignment, view.graded, sent, left_out, profile)
    shared = shared_trait(evidence, visits, assignment.user_of)
    return replace(overall, groups=replace(overall.groups, shared=shared))


def _pauses(evidence: Evidence, profile: SloProfile, assignment: LevelAssignment, metrics: Metrics) -> Pauses:
    min_seconds = threshold(profile)
    spans = find_pauses(evidence, min_seconds)
    return pauses(spans, pause_context(spans, metrics), min_seconds, assignment.levels, metrics)


def _without_foreign_deadlines(evidence: Evidence, profile: SloProfile) -> Evidence:
    """Drop the columns of token deadlines, which follow the run's own profile, if this profile sets others."""
    own = evidence.manifest.get("profile")
    try:
        same = isinstance(own, Mapping) and profile_of_run(own).deadlines == profile.deadlines
    except ValueError:
        same = False
    if same:
        return evidence
    return replace(
        evidence, replies={name: values for name, values in evidence.replies.items() if name not in DEADLINE_COLUMNS}
    )


def _verdict(served: int | None, invalid: bool) -> Literal["valid", "invalid", "unproven"]:
    if invalid:
        return "invalid"
    return "unproven" if served is None else "valid"
