"""Judge a run: evidence and an SLO profile in, the judgement out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from probe_ext.measure.table_rows import OPTIONAL_COLUMNS
from probe_ext.settings.slo import REASONINGS, Reasoning, SloProfile
from probe_ext.verdict.checks.run_checks import run_checks
from probe_ext.verdict.diagnosis.diagnose import diagnose
from probe_ext.verdict.diagnosis.diagnosis_input import facts_of
from probe_ext.verdict.diagnosis.kv_headroom import kv_headroom
from probe_ext.verdict.grading.reply_grades import GradedReplies, Slowdown, asked_at, judge_replies
from probe_ext.verdict.inference import bootstrap
from probe_ext.verdict.inference.slow_swings import shocks
from probe_ext.verdict.levels.cut_at_rise import as_of, cut_times
from probe_ext.verdict.levels.dimension_results import dimension_results, ramp_of, served_users
from probe_ext.verdict.levels.find_levels import find_stretches
from probe_ext.verdict.levels.level_assignment import LevelAssignment, assign_levels, sent_at
from probe_ext.verdict.levels.level_judgement import DimensionJudgements, answer
from probe_ext.verdict.results.assemble import JudgedRun, level_results
from probe_ext.verdict.results.cold_user import arms_of, cold_user, cold_user_checks
from probe_ext.verdict.results.slo_metrics import goodput
from probe_ext.verdict.results.team_size import Given, at_capacity, cost, team
from probe_ext.verdict.server.find_pauses import find_pauses, threshold
from probe_ext.verdict.server.pause_context import pause_context
from probe_ext.verdict.server.pause_summary import pauses
from probe_ext.verdict.server.server_series import Metrics, read_metrics
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.judgement import ByReasoning, Judgement, Mode
from probe_ext.verdict.values.pause_types import Pauses
from probe_ext.verdict.wording.headline import sentence, what_broke
from probe_ext.verdict.wording.next_run import next_command

NOTHING_GIVEN = Given()
NO_BRACKET = (None, None)
"""Bracket of an invalid run, which only has to be repeated."""


@dataclass(frozen=True)
class _View:
    """The run judged with reasoning shown, or hidden."""

    judgements: DimensionJudgements
    served: int | None

    @property
    def bracket(self) -> tuple[int | None, int | None]:
        bracket = self.judgements.overall.bracket
        return bracket.held, bracket.failed

    @property
    def mode(self) -> Mode:
        return Mode(self.served, self.bracket, self.judgements.breaks_first)


def judge(
    evidence: Evidence, profile: SloProfile, *, reasoning: Reasoning | None = None, given: Given = NOTHING_GIVEN
) -> Judgement:
    """Determine how many concurrent users the server keeps served, how sure that is, and what limits it first.

    `reasoning` overrides the profile's; `given` turns a capacity into a team size and a cost. Whatever a run's files
    lack becomes a finding; nothing raises.
    """
    mode: Reasoning = reasoning or profile.reasoning
    sent = sent_at(evidence)
    assignment = assign_levels(evidence, profile, sent)
    graded = {name: _graded(evidence, profile, name, assignment) for name in REASONINGS}
    views = {name: _view(assignment, answer(assignment, graded[name], profile)) for name in REASONINGS}
    view, share = views[mode], profile.level.served_share
    slowdowns = shocks(assignment, graded[mode].experience, sent)
    nodes = [_graded(evidence, profile, mode, assignment, slowdown).overall for slowdown in slowdowns]
    replicates = bootstrap.resample(assignment, nodes or [graded[mode].overall], sent, profile)
    metrics = read_metrics(evidence.server)
    evidence = _without_foreign_deadlines(evidence, profile)
    judged_run = JudgedRun(assignment, graded[mode], view.judgements, replicates, profile)
    levels = level_results(evidence, judged_run, metrics)
    arms = arms_of(evidence.replies, graded[mode].experience.waited, assignment.level_of)
    cold = cold_user(arms, metrics, profile)
    findings = (*run_checks(evidence, levels, metrics), *cold_user_checks(arms, cold))
    facts = facts_of(evidence, levels, metrics, findings)
    overall = view.judgements.overall
    ramp = ramp_of(assignment, overall, share)
    # A run with nothing but a ramp reports what that suggests; its verdict is "unproven".
    bracket = ramp.bracket if ramp and view.bracket == NO_BRACKET else view.bracket
    verdict = _verdict(view.served, any(finding.makes_invalid for finding in findings))
    interval = None if view.served is None else bootstrap.interval(assignment, overall, replicates, share)
    proven = view.served if verdict == "valid" else None
    at = at_capacity(evidence, asked_at(evidence.replies, profile), levels, proven)
    team_size = team(at, interval, given.think_time)
    dimensions, diagnosis = dimension_results(assignment, view.judgements), diagnose(facts)
    broke = what_broke(view.judgements.breaks_first, view.bracket[1], dimensions)
    to_narrow = NO_BRACKET if verdict == "invalid" else view.bracket
    return Judgement(
        verdict=verdict,
        sentence=sentence(view.served, view.bracket, broke, levels, ramp, findings, diagnosis.bounds),
        served_users=view.served,
        interval=interval,
        bracket=bracket,
        breaks_first=view.judgements.breaks_first,
        levels=levels,
        dimensions=dimensions,
        cold_user=cold,
        pauses=_pauses(evidence, profile, assignment, metrics),
        goodput=goodput(levels),
        team=team_size,
        cost=cost(at, team_size, given.price_per_hour),
        ramp=ramp,
        next_command=next_command(evidence.manifest, to_narrow, ramp, levels),
        reasoning=ByReasoning(mode, views["shown"].mode, views["hidden"].mode),
        profile=profile.model_dump(mode="json"),
        findings=findings,
        diagnosis=diagnosis,
        kv_headroom=kv_headroom(evidence, facts.loads),
        replies=len(sent),
        replies_outside=int((assignment.level_of < 0).sum()),
    )


def _graded(
    evidence: Evidence,
    profile: SloProfile,
    mode: Reasoning,
    assignment: LevelAssignment,
    slowdown: Slowdown | None = None,
) -> GradedReplies:
    """Grade replies as of the end of their level; the experience stays that of the whole reply."""
    whole = judge_replies(evidence.replies, profile, mode, slowdown)
    cut = cut_times(assignment.levels, find_stretches(evidence.users, None), assignment.level_of)
    until_rise = as_of(evidence.replies, cut)
    if until_rise is evidence.replies:
        return whole
    return replace(judge_replies(until_rise, profile, mode, slowdown), experience=whole.experience)


def _pauses(evidence: Evidence, profile: SloProfile, assignment: LevelAssignment, metrics: Metrics) -> Pauses:
    min_seconds = threshold(profile)
    spans = find_pauses(evidence, min_seconds)
    return pauses(spans, pause_context(spans, metrics), min_seconds, assignment.levels, metrics)


def _without_foreign_deadlines(evidence: Evidence, profile: SloProfile) -> Evidence:
    """Drop the columns of token deadlines, which follow the run's own profile, if this profile sets others."""
    own = evidence.manifest.get("profile")
    try:
        same = isinstance(own, Mapping) and SloProfile.model_validate(own).deadlines == profile.deadlines
    except ValueError:
        same = False
    if same:
        return evidence
    return replace(
        evidence, replies={name: values for name, values in evidence.replies.items() if name not in OPTIONAL_COLUMNS}
    )


def _view(assignment: LevelAssignment, judgements: DimensionJudgements) -> _View:
    return _View(judgements, served_users(assignment, judgements.overall))


def _verdict(served: int | None, invalid: bool) -> Literal["valid", "invalid", "unproven"]:
    if invalid:
        return "invalid"
    return "unproven" if served is None else "valid"
