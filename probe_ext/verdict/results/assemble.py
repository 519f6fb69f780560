"""Assemble the result of each level."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from probe_ext.settings.slo import SloProfile, Users
from probe_ext.verdict.grading.reply_grades import BROKEN, SERVED, STRAINED, UNJUDGED, GradedReplies
from probe_ext.verdict.grading.user_grades import UNDECIDED, classify
from probe_ext.verdict.inference import bootstrap
from probe_ext.verdict.levels.bracket import fitted, states_of
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.levels.level_assignment import LevelAssignment, rows_by_level
from probe_ext.verdict.levels.level_judgement import DimensionJudgements, LevelJudgement, blame
from probe_ext.verdict.levels.level_state import STATE_NAMES, UNPROVEN, served_share
from probe_ext.verdict.results.slo_metrics import reply_figures, token_windows
from probe_ext.verdict.server.preemptions import Preemptions, find_preemptions
from probe_ext.verdict.server.server_series import Metrics, server_figures
from probe_ext.verdict.values.columns import Ints, coded, texts
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.level_result import LevelResult, ServerFigures


@dataclass(frozen=True)
class JudgedRun:
    """A run judged with reasoning either shown or hidden."""

    assignment: LevelAssignment
    graded: GradedReplies
    judgements: DimensionJudgements
    replicates: bootstrap.Replicates
    profile: SloProfile


def level_results(evidence: Evidence, run: JudgedRun, metrics: Metrics) -> tuple[LevelResult, ...]:
    """Return one result per level, in order of time."""
    tokens = token_windows(evidence.windows)
    outcome_of, outcomes = coded(texts(evidence.replies, "outcome"))
    shares, preemptions = _shares(run), find_preemptions(metrics)
    killed = not evidence.manifest.get("end_reason")
    results = []
    for i, (level, rows) in enumerate(zip(run.assignment.levels, rows_by_level(run.assignment), strict=True)):
        ended = np.bincount(outcome_of[rows], minlength=len(outcomes))
        values: dict[str, Any] = {
            **asdict(level),
            **{name: by_level[i] for name, by_level in shares.items()},
            **_state(run, i),
            **_users(run.judgements.overall, i),
            **_replies(run, rows),
            **asdict(reply_figures(evidence.replies, rows, level, run.graded, tokens, killed=killed)),
            **asdict(_server(metrics, level, preemptions)),
        }
        results.append(
            LevelResult(**values, outcomes={name: int(n) for name, n in zip(outcomes, ended, strict=True) if n})
        )
    return tuple(results)


def _server(metrics: Metrics, level: Level, preemptions: Preemptions) -> ServerFigures:
    """Return the server's figures with preemptions attributed by its queue; None stays where they are not counted."""
    figures = server_figures(metrics, level)
    if figures.preemptions is None:
        return figures
    attributed, unsure = preemptions.within(level)
    return replace(figures, preemptions=attributed, preemptions_unsure=unsure)


def _state(run: JudgedRun, i: int) -> dict[str, Any]:
    overall, level = run.judgements.overall, run.assignment.levels[i]
    appears = STATE_NAMES[overall.states[i]]
    unproven = overall.states[i] == UNPROVEN
    return {
        "state": "unproven" if level.band or unproven else appears,
        "appears": appears,
        "why": tuple(blame(run.judgements, i, run.profile.level.served_share)),
        "replies_needed": _replies_needed(run, i) if unproven else None,
    }


def _replies_needed(run: JudgedRun, i: int) -> int:
    """Return how many replies would settle a level: enough for every user, and enough to decide undecided users."""
    overall, min_replies = run.judgements.overall, run.assignment.min_replies
    rules: Users = run.profile.users
    judged = overall.counts.judged[i]
    needed = np.where(classify(overall.counts, rules)[i] == UNDECIDED, rules.decided_from, min_replies)
    has_replies = judged > 0
    unheard = int(overall.coverage.present[i]) - int(has_replies.sum())
    return int(np.clip(needed - judged, 0, None)[has_replies].sum()) + unheard * min_replies


def _shares(run: JudgedRun) -> dict[str, list[float | None]]:
    """Return the served share of each level with its interval, and by the monotone fit."""
    overall, steps = run.judgements.overall, run.judgements.overall.steps
    states = states_of(steps, run.profile.level.served_share)
    shares = fitted(states, served_share(steps.people), steps.people.judged)
    fit = dict(zip(steps.users.tolist(), shares, strict=True))
    low, high = bootstrap.share_range(run.replicates.experience)
    return {
        "served_share": _or_none(served_share(overall.people)),
        "served_share_low": _or_none(low),
        "served_share_high": _or_none(high),
        "served_share_fit": _or_none(np.array([np.nan if lv.band else fit[lv.users] for lv in run.assignment.levels])),
    }


def _or_none(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _users(overall: LevelJudgement, i: int) -> dict[str, int]:
    users = overall.people
    return {
        "users_served": int(users.served[i]),
        "users_strained": int(users.strained[i]),
        "users_broken": int(users.broken[i]),
        "users_undecided": int(users.undecided[i]),
        "users_unheard": int(overall.coverage.present[i] - users.judged[i]),
    }


def _replies(run: JudgedRun, rows: Ints) -> dict[str, int]:
    grades = run.graded.overall[rows]
    return {
        "replies": len(grades),
        "replies_served": int((grades == SERVED).sum()),
        "replies_strained": int((grades == STRAINED).sum()),
        "replies_broken": int((grades == BROKEN).sum()),
        "replies_open": int((grades == UNJUDGED).sum()),
    }
