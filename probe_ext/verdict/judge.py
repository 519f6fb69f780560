"""Evidence and a profile in, the judgement out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from probe_ext.measure.table_rows import OPTIONAL_COLUMNS
from probe_ext.settings.slo import REASONINGS, Reasoning, SloProfile
from probe_ext.verdict.checks.run_checks import run_checks
from probe_ext.verdict.diagnosis.diagnose import rule
from probe_ext.verdict.diagnosis.diagnosis_input import facts_of
from probe_ext.verdict.diagnosis.kv_headroom import edge
from probe_ext.verdict.grading.reply_grades import Judged, Slower, asked_at, judge_replies
from probe_ext.verdict.inference import bootstrap
from probe_ext.verdict.inference.slow_swings import shocks
from probe_ext.verdict.levels.answers import climb_of, questions_of, served_users
from probe_ext.verdict.levels.find_levels import find_stretches
from probe_ext.verdict.levels.scene import scene_of, sent_at
from probe_ext.verdict.levels.standing import Answers, Scene, answer
from probe_ext.verdict.levels.truncate import as_of, moments
from probe_ext.verdict.results.assemble import Judging, level_results
from probe_ext.verdict.results.cold_user import arms_of, cold_user, cold_user_checks
from probe_ext.verdict.results.slo_metrics import goodput
from probe_ext.verdict.results.team_size import Given, at_capacity, cost, team
from probe_ext.verdict.server.find_pauses import find_pauses, threshold
from probe_ext.verdict.server.pause_context import look_at
from probe_ext.verdict.server.pause_summary import pauses
from probe_ext.verdict.server.server_series import Metrics, read_metrics
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.judgement import Judgement, Mode
from probe_ext.verdict.values.pause_types import Pauses
from probe_ext.verdict.wording.headline import sentence, what_broke
from probe_ext.verdict.wording.next_run import next_command

NOTHING_GIVEN = Given()
NO_BRACKET = (None, None)
"""of a run that is not to be believed: what is to be done is to repeat it"""


@dataclass(frozen=True)
class _View:
    """The run judged with reasoning shown, or hidden."""

    answers: Answers
    served: int | None

    @property
    def bracket(self) -> tuple[int | None, int | None]:
        between = self.answers.overall.bracket
        return between.held, between.failed


def judge(
    evidence: Evidence, profile: SloProfile, *, reasoning: Reasoning | None = None, given: Given = NOTHING_GIVEN
) -> Judgement:
    """How many people at once this server keeps served, how sure that is, and what breaks first.

    `reasoning` overrides the profile's; `given` is what turns a capacity into a team and a cost. What a run's files
    lack becomes a finding, it never raises.
    """
    mode: Reasoning = reasoning or profile.reasoning
    sent = sent_at(evidence)
    scene = scene_of(evidence, profile, sent)
    judged = {name: _judged(evidence, profile, name, scene) for name in REASONINGS}
    views = {name: _view(scene, answer(scene, judged[name], profile)) for name in REASONINGS}
    view, share = views[mode], profile.level.served_share
    moved = shocks(scene, judged[mode].felt, sent)
    nodes = [_judged(evidence, profile, mode, scene, slower).overall for slower in moved] or [judged[mode].overall]
    replicates = bootstrap.resample(scene, nodes, sent, profile)
    metrics = read_metrics(evidence.server)
    evidence = _without_foreign_deadlines(evidence, profile)
    levels = level_results(evidence, Judging(scene, judged[mode], view.answers, replicates, profile), metrics)
    arms = arms_of(evidence.replies, judged[mode].felt.waited, scene.level_of)
    cold = cold_user(arms, metrics, profile)
    findings = (*run_checks(evidence, levels, metrics), *cold_user_checks(arms, cold))
    facts = facts_of(evidence, levels, metrics, findings)
    climb = climb_of(scene, view.answers.overall, share)
    overall = view.answers.overall
    # Of a climb alone, what it suggests is all there is to say; the verdict then is "unproven".
    bracket = climb.bracket if climb and view.bracket == (None, None) else view.bracket
    verdict = _verdict(view.served, any(finding.spoils for finding in findings))
    between = None if view.served is None else bootstrap.interval(scene, overall, replicates, share)
    proven = view.served if verdict == "valid" else None
    full = at_capacity(evidence, asked_at(evidence.replies, profile), levels, proven)
    people = team(full, between, given.think_time)
    questions, diagnosis = questions_of(scene, view.answers), rule(facts)
    broke = what_broke(view.answers.breaks_first, view.bracket[1], questions)
    return Judgement(
        verdict=verdict,
        sentence=sentence(view.served, view.bracket, broke, levels, climb, findings, diagnosis.bounds),
        served_users=view.served,
        interval=between,
        bracket=bracket,
        breaks_first=view.answers.breaks_first,
        levels=levels,
        questions=questions,
        cold_user=cold,
        pauses=_pauses(evidence, profile, scene, metrics),
        goodput=goodput(levels),
        team=people,
        cost=cost(full, people, given.price_per_hour),
        climb=climb,
        next_command=next_command(
            evidence.manifest, NO_BRACKET if verdict == "invalid" else view.bracket, climb, levels
        ),
        reasoning=mode,
        modes={name: Mode(one.served, one.bracket, one.answers.breaks_first) for name, one in views.items()},
        profile=profile.model_dump(mode="json"),
        findings=findings,
        diagnosis=diagnosis,
        edge=edge(evidence, facts.loads),
        replies=len(sent),
        replies_outside=int((scene.level_of < 0).sum()),
    )


def _judged(
    evidence: Evidence, profile: SloProfile, mode: Reasoning, scene: Scene, slower: Slower | None = None
) -> Judged:
    """Graded as they stood when their level was over; what users felt of them is of the whole reply."""
    whole = judge_replies(evidence.replies, profile, mode, slower)
    stood = as_of(evidence.replies, moments(scene.levels, find_stretches(evidence.users, None), scene.level_of))
    return whole if stood is evidence.replies else replace(judge_replies(stood, profile, mode, slower), felt=whole.felt)


def _pauses(evidence: Evidence, profile: SloProfile, scene: Scene, metrics: Metrics) -> Pauses:
    least = threshold(profile)
    spans = find_pauses(evidence, least)
    return pauses(spans, look_at(spans, metrics), least, scene.levels, metrics)


def _without_foreign_deadlines(evidence: Evidence, profile: SloProfile) -> Evidence:
    """Deadlines were kept by the run's own profile: for another one that sets others, they say nothing."""
    own = evidence.manifest.get("profile")
    try:
        same = isinstance(own, Mapping) and SloProfile.model_validate(own).deadlines == profile.deadlines
    except ValueError:
        same = False
    lacking = {name: values for name, values in evidence.replies.items() if name not in OPTIONAL_COLUMNS}
    return evidence if same else replace(evidence, replies=lacking)


def _view(scene: Scene, answers: Answers) -> _View:
    return _View(answers, served_users(scene, answers.overall))


def _verdict(served: int | None, spoiled: bool) -> Literal["valid", "invalid", "unproven"]:
    if spoiled:
        return "invalid"
    return "unproven" if served is None else "valid"
