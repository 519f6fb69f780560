"""Judge a run: evidence and an SLO profile in, the judgement out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from probe_ext.measure.table_rows import DEADLINE_COLUMNS
from probe_ext.settings.slo import REASONINGS, Reasoning, SloProfile, profile_of_run
from probe_ext.verdict.checks.equal_failures import equal_failures
from probe_ext.verdict.checks.other_load import unjudged_users
from probe_ext.verdict.checks.outage import outage
from probe_ext.verdict.checks.run_checks import run_checks
from probe_ext.verdict.diagnosis.diagnose import diagnose
from probe_ext.verdict.diagnosis.facts.diagnosis_input import facts_of
from probe_ext.verdict.evidence.columns import counts_of, text_column
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import critical_of, who_uses
from probe_ext.verdict.grading.kind_profiles import Kind, KindProfiles, kind_profiles, request_names
from probe_ext.verdict.levels.dimension_estimates import (
    DimensionEstimates,
    JudgedReplies,
    dimension_results,
    estimate_dimensions,
    estimate_kinds,
)
from probe_ext.verdict.levels.find_levels import is_open_stream
from probe_ext.verdict.levels.grade_levels import grade_levels
from probe_ext.verdict.levels.level_assignment import LevelAssignment, assign_levels, cut_levels, sent_at
from probe_ext.verdict.levels.shared_trait import shared_trait
from probe_ext.verdict.levels.visits import client_faults, counted_rows, criteria_of, last_seconds_of, visits_of
from probe_ext.verdict.phrasing.plurals import Who
from probe_ext.verdict.results.assemble import JudgedRun, level_results
from probe_ext.verdict.results.cold_user import arms_of, cold_user, cold_user_checks
from probe_ext.verdict.results.gpu_use import gpu_use
from probe_ext.verdict.results.kind_results import kind_results, name_results
from probe_ext.verdict.results.replayed_trace import replayed_trace
from probe_ext.verdict.results.rolling_windows import WINDOW_S, rolling_windows
from probe_ext.verdict.results.short_visits import short_visits, went_well
from probe_ext.verdict.results.slo_metrics import goodput
from probe_ext.verdict.results.team_size import AtCapacity, Given, at_capacity, cost, team, with_command
from probe_ext.verdict.results.think_time import think_time
from probe_ext.verdict.results.ttft_by_length import ttft_by_length
from probe_ext.verdict.server.find_pauses import find_pauses, threshold
from probe_ext.verdict.server.generation import with_generation
from probe_ext.verdict.server.others import others_by_level
from probe_ext.verdict.server.pause_context import pause_context
from probe_ext.verdict.server.pause_summary import pauses
from probe_ext.verdict.server.server_series import Metrics
from probe_ext.verdict.server.standing_still import moving_metrics
from probe_ext.verdict.values.answer import Answer
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.judgement import ByReasoning, Judgement, Mode
from probe_ext.verdict.values.kind_result import KindResult
from probe_ext.verdict.values.level_result import LevelResult, ShortVisit
from probe_ext.verdict.values.pause_types import Pauses
from probe_ext.verdict.values.ruling_types import Diagnosis
from probe_ext.verdict.values.sizing_types import Team, ThinkTime
from probe_ext.verdict.wording.early_end import ALL_WITH_OTHERS, why_nothing
from probe_ext.verdict.wording.headline import Context, answer
from probe_ext.verdict.wording.kind_phrases import by_kind
from probe_ext.verdict.wording.next_run import (
    NextMeasurement,
    next_command,
    next_measurement,
    next_step,
    team_command,
)

NOTHING_GIVEN = Given()


@dataclass(frozen=True)
class _View:
    """The run judged with reasoning shown, or hidden."""

    replies: JudgedReplies
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
    view: _View
    """by which the run is judged"""
    overall: CapacityEstimate
    kinds: tuple[KindResult, ...]
    left_out: tuple[Finding, ...]
    """why replies are left out of the estimate"""


def judge(
    evidence: Evidence,
    profile: SloProfile,
    *,
    reasoning: Reasoning | None = None,
    given: Given = NOTHING_GIVEN,
    one_profile: bool = False,
) -> Judgement:
    """Determine how many concurrent users the server keeps served, how sure that is, and what limits it first.

    Kinds of user are judged by their own profiles, or with `one_profile` all by this one. `reasoning` overrides the
    profiles'; `given` turns a capacity into a team size and a cost. Whatever a run's files lack becomes a finding;
    nothing raises.
    """
    profiles = kind_profiles(evidence.manifest.get("workload"), profile, one_profile=one_profile)
    profile = profiles.default
    evidence = _without_foreign_deadlines(replace(evidence, replies=with_generation(evidence)), profiles)
    run = _estimate(evidence, profiles, reasoning)
    assignment, metrics, overall, view = run.assignment, run.metrics, run.overall, run.view
    judged, visits = _judged_run(view, profile), short_visits(evidence, profiles)
    levels = level_results(evidence, judged, metrics)
    arms = arms_of(evidence.replies, judged.graded.experience.waited, assignment.level_of)
    cold = cold_user(arms, metrics, profile)
    checked = run_checks(evidence, levels, metrics, overall, run.left_out, judged.graded)
    findings = (*checked, *cold_user_checks(arms, cold))
    facts = facts_of(evidence, levels, metrics, findings, profile.users.served_share)
    diagnosis = diagnose(facts)
    verdict = _verdict(overall.served_users, any(finding.makes_invalid for finding in findings))
    proven = overall.bracket[0] if verdict == "valid" else None
    undisturbed = tuple(level for level in levels if level.judged)
    who = who_uses(evidence.manifest.get("workload"))
    paused = think_time(evidence.replies, assignment, who)
    at = at_capacity(evidence, profiles.asked_at(evidence.replies), undisturbed, proven)
    more = None if verdict == "invalid" else next_measurement(evidence.manifest, overall, criteria_of(profile))
    context = _context(evidence, run, visits, levels, findings, diagnosis, more)
    in_words = answer(overall, replace(context, pause=paused.mean if paused else None, who=who))
    return Judgement(
        verdict=verdict,
        **_said(evidence, in_words, who),
        **_of_estimate(overall),
        breaks_first=view.estimates.first_limit,
        levels=levels,
        dimensions=dimension_results(view.estimates),
        kinds=run.kinds,
        cold_user=cold,
        pauses=_pauses(evidence, profile, assignment, metrics),
        goodput=goodput(undisturbed, judged.last_seconds),
        **_sizing(at, paused, given, who, lambda of: team_command(evidence.manifest, of, criteria_of(profile))),
        gpu=gpu_use(evidence, levels, proven, paused, who),
        trace=replayed_trace(evidence.manifest, evidence.replies),
        **_next_run(evidence, overall, more, invalid=verdict == "invalid"),
        reasoning=ByReasoning(reasoning or profile.reasoning, run.views["shown"].mode, run.views["hidden"].mode),
        profile=profile.model_dump(mode="json"),
        findings=findings,
        diagnosis=diagnosis,
        kv_headroom=facts.headroom,
        **_of_replies(evidence, judged, visits),
        rolling=rolling_windows(evidence.replies, given.window or WINDOW_S),
    )


def _said(evidence: Evidence, in_words: Answer, who: Who) -> dict[str, Any]:
    load = "rate" if is_open_stream(evidence.users) else "users"
    return {"load": load, "who": who, "sentence": in_words.sentence, "answer": in_words}


def _next_run(
    evidence: Evidence, overall: CapacityEstimate, more: NextMeasurement | None, *, invalid: bool
) -> dict[str, Any]:
    return {
        "next_step": next_step(more, overall),
        "next_command": next_command(evidence.manifest, overall, more, invalid=invalid),
        "next_seconds": more.seconds if more else None,
    }


def _sizing(
    at: AtCapacity | None, paused: ThinkTime | None, given: Given, who: Who, command_for: Callable[[Team], str | None]
) -> dict[str, Any]:
    """Return what the capacity is worth in people and money. Of users who pause, it is a team already."""
    of = team(at, given.think_time) if paused is None and who == "people" else None
    if of is not None and at is not None:
        of = with_command(of, at, command_for(of))
    return {"think_time": paused, "team": of, "cost": cost(at, of, given.price_per_hour, paused)}


def _judged_run(view: _View, profile: SloProfile) -> JudgedRun:
    replies = view.replies
    counted = counted_rows(replies.assignment, replies.sent, replies.left_out, profile)
    return JudgedRun(replies.assignment, replies.graded, view.estimates, counted, last_seconds_of(profile))


def _of_replies(evidence: Evidence, run: JudgedRun, visits: tuple[ShortVisit, ...]) -> dict[str, Any]:
    return {
        "replies": len(run.assignment.level_of),
        "replies_outside": int((run.assignment.level_of < 0).sum()),
        "short_visits": visits,
        "ttft_by_length": ttft_by_length(evidence.replies, run.assignment, run.counted),
    }


_OF_ESTIMATE = (
    *("served_users", "estimate", "interval", "bracket", "suggestion", "dispersion", "drift", "contradictions"),
    *("disturbed", "groups"),
)


def _of_estimate(overall: CapacityEstimate) -> dict[str, Any]:
    """Return what the judgement takes from the estimate as it is."""
    return {name: getattr(overall, name) for name in _OF_ESTIMATE}


def _estimate(evidence: Evidence, profiles: KindProfiles, reasoning: Reasoning | None) -> _Estimated:
    sent, metrics = sent_at(evidence), moving_metrics(evidence)
    unexplained, down = equal_failures(evidence), outage(evidence)
    assignment = cut_levels(assign_levels(evidence, sent), down.since)
    assignment = replace(assignment, others=others_by_level(evidence, assignment.levels, metrics))
    left_out = client_faults(evidence.replies) | unexplained.mask | down.mask

    def view(mode: Reasoning | None, like: _View | None = None) -> _View:
        graded = grade_levels(evidence, profiles, mode, assignment, like.replies.graded if like else None)
        if like and graded is like.replies.graded:  # all text is visible, or only what lies outside reasoning is asked
            return like
        scenarios = text_column(evidence.replies, "scenario")
        replies = JudgedReplies(assignment, graded, sent, left_out, scenarios, critical_of(evidence.manifest))
        return _View(replies, estimate_dimensions(replies, profiles))

    views: dict[Reasoning, _View] = {}
    for mode in REASONINGS:
        views[mode] = view(mode, next(iter(views.values()), None))
    each_by_its_own = reasoning is None and profiles.mixes_reasoning
    judged = view(None, views["shown"]) if each_by_its_own else views[reasoning or profiles.default.reasoning]
    overall = _with_shared_trait(judged, evidence, profiles.default)
    kinds = _kinds(judged, profiles)
    return _Estimated(assignment, metrics, views, judged, overall, kinds, (unexplained.finding, down.finding))


def _kinds(view: _View, profiles: KindProfiles) -> tuple[KindResult, ...]:
    """Return the result of each kind of user; without stated kinds, of each request name."""
    if profiles.kinds:
        return kind_results(profiles.kinds, view.estimates.kinds)
    inside = view.replies.assignment.level_of >= 0
    names = request_names(counts_of(view.replies.scenarios, inside))
    if len(names) < 2:
        return ()
    kinds = [Kind(name, profiles.default) for name in names]
    return name_results(estimate_kinds(view.replies, kinds, share_error=False))


def _context(
    evidence: Evidence,
    run: _Estimated,
    visits: Sequence[ShortVisit],
    levels: Sequence[LevelResult],
    findings: Sequence[Finding],
    diagnosis: Diagnosis,
    more: NextMeasurement | None,
) -> Context:
    """Return what the sentence needs besides the estimate."""
    estimates, kinds = run.view.estimates, run.kinds
    first_kind = estimates.first_kind
    measured = [kind for kind in kinds if kind.replies and kind.source == "workload"]
    all_with_others = levels and not any(level.judged for level in levels)
    return Context(
        first_limit=estimates.first_limit,
        needed_share=estimates.limit,
        findings=findings,
        bounds=diagnosis.bounds,
        why_no_level=ALL_WITH_OTHERS if all_with_others else why_nothing(evidence.manifest),
        next_measurement=more,
        unjudged=unjudged_users(levels),
        first_kind=first_kind.kind.name if first_kind else "",
        by_kind=by_kind([(kind.name, kind.bracket) for kind in measured]),
        fine_in_short_visits=went_well(visits, estimates.limit),
        unmeasured_kinds=[kind.name for kind in kinds if not kind.replies],
    )


def _with_shared_trait(view: _View, evidence: Evidence, profile: SloProfile) -> CapacityEstimate:
    """Return the estimate, with what the users share who are served worse."""
    overall, replies = view.estimates.overall, view.replies
    if overall.groups is None:
        return overall
    visits = visits_of(replies.assignment, replies.graded, replies.sent, replies.left_out, profile)
    shared = shared_trait(evidence, visits, replies.assignment.user_of)
    return replace(overall, groups=replace(overall.groups, shared=shared))


def _pauses(evidence: Evidence, profile: SloProfile, assignment: LevelAssignment, metrics: Metrics) -> Pauses:
    min_seconds = threshold(profile)
    spans = find_pauses(evidence, min_seconds)
    return pauses(spans, pause_context(spans, metrics), min_seconds, assignment.levels, metrics)


def _without_foreign_deadlines(evidence: Evidence, profiles: KindProfiles) -> Evidence:
    """Drop the columns of token deadlines, which follow the run's own profile, if a profile sets others."""
    own, used = evidence.manifest.get("profile"), [kind.profile for kind in profiles.kinds] or [profiles.default]
    try:
        same = isinstance(own, Mapping) and {profile_of_run(own).deadlines} == {one.deadlines for one in used}
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
