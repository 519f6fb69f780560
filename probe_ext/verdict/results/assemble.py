"""Assemble the result of each level."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from probe_ext.verdict.evidence.columns import Ints, text_codes
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.grading.reply_grades import BROKEN, SERVED, STRAINED, UNJUDGED, GradedReplies
from probe_ext.verdict.levels.dimension_estimates import DimensionEstimates
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.levels.level_assignment import LevelAssignment, rows_by_level
from probe_ext.verdict.results.slo_metrics import reply_figures, token_windows
from probe_ext.verdict.results.stream_figures import stream_figures
from probe_ext.verdict.server.preemptions import Preemptions, find_preemptions
from probe_ext.verdict.server.server_series import Metrics, server_figures
from probe_ext.verdict.values.level_result import LevelResult, ServerFigures


@dataclass(frozen=True)
class JudgedRun:
    """A run judged with reasoning either shown or hidden."""

    assignment: LevelAssignment
    graded: GradedReplies
    estimates: DimensionEstimates
    counted: Sequence[Ints]
    """rows of each level's judged replies"""
    last_seconds: float
    """of each level, whose replies are not among them"""


def level_results(evidence: Evidence, run: JudgedRun, metrics: Metrics) -> tuple[LevelResult, ...]:
    """Return one result per level, in order of time."""
    tokens = token_windows(evidence.windows)
    outcome_of, outcomes = text_codes(evidence.replies, "outcome")
    preemptions = find_preemptions(metrics)
    killed = not evidence.manifest.get("ended_at")  # the reason is known, and written, before the end
    results = []
    others = run.assignment.others or (None,) * len(run.assignment.levels)
    sent = [len(rows) for rows in rows_by_level(run.assignment)]
    for level, rows, all_sent, share in zip(run.assignment.levels, run.counted, sent, others, strict=True):
        ended = np.bincount(outcome_of[rows], minlength=len(outcomes))
        values: dict[str, Any] = {
            **asdict(level),
            **_estimated(run.estimates, level.users, crowded=share is not None and share.too_much),
            "replies": all_sent,
            **_judged(run, rows),
            **asdict(reply_figures(evidence.replies, rows, level, run.graded, tokens, run.last_seconds, killed=killed)),
            **asdict(_server(metrics, level, preemptions)),
            **asdict(stream_figures(evidence.replies, rows, level)),
            "others": share,
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


def _estimated(estimates: DimensionEstimates, users: int, *, crowded: bool) -> dict[str, Any]:
    """Return what is known of a number of users; without a judged reply, nothing. `crowded`: by others' load."""
    level = estimates.overall.level(users)
    return {
        "state": level.state if level else "unproven",
        "reasons": level.reasons if level else ("other_load",) if crowded else ("too_few_replies",),
        "why": estimates.costs(users),
        "served_share": level and level.served_share,
        "served_share_low": level and level.share_low,
        "served_share_high": level and level.share_high,
        "served_share_fit": level and level.share_fit,
        "broken_share": level and level.broken_share,
        "broken_share_high": level and level.broken_high,
        "worse_group": level and level.worse_group,
        "replies_needed": level and level.replies_needed,
        "seconds_needed": level and level.seconds_needed,
    }


def _judged(run: JudgedRun, rows: Ints) -> dict[str, int]:
    grades = run.graded.overall[rows]
    return {
        "replies_judged": len(grades),
        "replies_served": int((grades == SERVED).sum()),
        "replies_strained": int((grades == STRAINED).sum()),
        "replies_broken": int((grades == BROKEN).sum()),
        "replies_open": int((grades == UNJUDGED).sum()),
    }
