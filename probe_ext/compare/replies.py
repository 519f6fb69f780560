"""The replies of a run as the estimator takes them, and the figures of each reply by level.

Levels, grades and replies left out are those of the report (`verdict/judge.py`), so both say the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.checks.equal_failures import equal_failures
from probe_ext.verdict.checks.outage import outage
from probe_ext.verdict.evidence.columns import Bools, Floats, Ints, is_any, numbers
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import critical_of
from probe_ext.verdict.grading.kind_profiles import kind_profiles
from probe_ext.verdict.grading.reply_grades import BROKEN, GradedReplies
from probe_ext.verdict.inference.observations import Visit, counts_towards_level
from probe_ext.verdict.levels.grade_levels import grade_levels
from probe_ext.verdict.levels.level_assignment import LevelAssignment, assign_levels, cut_levels, rows_by_level, sent_at
from probe_ext.verdict.levels.visits import client_faults, last_seconds_of, visits_of
from probe_ext.verdict.results.slo_metrics import token_windows
from probe_ext.verdict.server.generation import with_generation
from probe_ext.verdict.server.others import others_by_level
from probe_ext.verdict.server.standing_still import moving_metrics
from probe_ext.verdict.values.json_types import DIMENSIONS

OVERALL = "served"


@dataclass(frozen=True)
class Sample:
    """One figure of the replies of one visit; the arrays have one entry for each reply that has it."""

    visit: Visit
    value: Floats


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of one visit, cut into blocks of about one reply cycle."""

    users: int
    replies: int
    seconds: float
    rates: Floats
    """tokens per second of each block"""


@dataclass(frozen=True)
class Lengths:
    """Over the complete replies of one level."""

    replies: int
    mean: float
    error: float
    """standard error of the mean"""


@dataclass(frozen=True)
class RunReplies:
    """Everything that is compared between runs whose files are there."""

    visits: Mapping[str, Sequence[Visit]]
    """by dimension, and OVERALL"""
    samples: Mapping[str, Sequence[Sample]]
    """by figure: `ttft`, `decode_rate`, `longest_gap`"""
    tokens: Sequence[TokenCounts]
    critical: float | None
    """of a search, as `estimate` takes it"""
    tokens_out: Mapping[int, Lengths]
    """by users"""
    tokens_in: float | None
    """mean over all replies"""
    cached: float | None
    """share of all prompt tokens that came from the prefix cache"""
    end: float
    """seconds of the run"""


@dataclass(frozen=True)
class AssignedReplies:
    """The replies of a run, graded and assigned to levels."""

    evidence: Evidence
    profile: SloProfile
    assignment: LevelAssignment
    graded: GradedReplies
    sent: Floats
    left_out: Bools

    def visits(self, name: str) -> list[Visit]:
        """Return the visits, judged by everything (OVERALL) or by one dimension alone."""
        dimension = None if name == OVERALL else name
        return visits_of(self.assignment, self.graded, self.sent, self.left_out, self.profile, dimension)

    def visits_within(self, values: Floats, limit: float) -> list[Visit]:
        """Return the visits with, as served, the replies whose value is at most `limit`.

        A reply that broke without ever having the value did not keep the limit; another without it is not judged.
        """
        broke = self.graded.overall == BROKEN
        judged = np.where(np.isnan(values) & broke, np.inf, values)
        return [
            replace(sample.visit, served=sample.value <= limit)
            for sample in _samples(self.assignment, judged, self.sent, self.left_out, self.profile)
        ]


def assigned_replies(evidence: Evidence, profile: SloProfile, *, one_profile: bool = False) -> AssignedReplies:
    """Grade a run's replies and assign them to levels. `one_profile`: all kinds of user by this profile."""
    profiles = kind_profiles(evidence.manifest.get("workload"), profile, one_profile=one_profile)
    profile = profiles.default
    evidence = replace(evidence, replies=with_generation(evidence))
    sent, metrics = sent_at(evidence), moving_metrics(evidence)
    down = outage(evidence)
    assignment = cut_levels(assign_levels(evidence, sent), down.since)
    assignment = replace(assignment, others=others_by_level(evidence, assignment.levels, metrics))
    mode = None if profiles.mixes_reasoning else profile.reasoning
    graded = grade_levels(evidence, profiles, mode, assignment)
    left_out = client_faults(evidence.replies) | equal_failures(evidence).mask | down.mask
    return AssignedReplies(evidence, profile, assignment, graded, sent, left_out)


def run_replies(evidence: Evidence, profile: SloProfile, *, one_profile: bool = False) -> RunReplies:
    """Return what is compared of a run."""
    run = assigned_replies(evidence, profile, one_profile=one_profile)
    profile = run.profile
    judged = [OVERALL, *(name for name in DIMENSIONS if _is_judged(name, run.graded, profile))]
    visits = {name: run.visits(name) for name in judged}
    samples = {
        name: _samples(run.assignment, values, run.sent, run.left_out, profile)
        for name, values in _figures(run.evidence, run.graded).items()
    }
    return RunReplies(
        visits=visits,
        samples=samples,
        tokens=_token_counts(evidence, visits[OVERALL]),
        critical=critical_of(evidence.manifest),
        tokens_out=_lengths(evidence, run.assignment),
        tokens_in=_mean(numbers(evidence.replies, "tokens_in")),
        cached=_cached(evidence),
        end=max((visit.end for visit in visits[OVERALL]), default=0.0),
    )


def _is_judged(name: str, graded: GradedReplies, profile: SloProfile) -> bool:
    return (name == "answer" or getattr(profile, name) is not None) and bool(np.any(graded.by[name] >= 0))


def _figures(evidence: Evidence, graded: GradedReplies) -> dict[str, Floats]:
    """Return the figures of each reply that the report shows by level; NaN where it has none."""
    ttft = numbers(evidence.replies, "first") - numbers(evidence.replies, "sent")
    seen = graded.experience
    return {
        "ttft": np.where(graded.arrived.at_once, np.nan, ttft),
        "decode_rate": seen.rate,
        "longest_gap": seen.gap,
    }


def _samples(
    assignment: LevelAssignment, values: Floats, sent: Floats, left_out: Bools, profile: SloProfile
) -> list[Sample]:
    last, found = last_seconds_of(profile), []
    for index, (level, rows) in enumerate(zip(assignment.levels, rows_by_level(assignment), strict=True)):
        if not assignment.is_judged(index):
            continue
        here: Ints = rows[~left_out[rows] & ~np.isnan(values[rows])]
        here = here[counts_towards_level(sent[here], level.t_end, last)]
        none = np.zeros(len(here), dtype=np.bool_)
        visit = Visit(
            level.users, assignment.user_of[here].astype(np.int64), sent[here], none, none, level.t_start, level.t_end
        )
        found.append(Sample(visit, values[here]))
    return found


def _token_counts(evidence: Evidence, visits: Sequence[Visit]) -> list[TokenCounts]:
    windows = token_windows(evidence.windows)
    if windows is None:
        return []
    start, seconds, count = windows.T
    counts = []
    for visit in visits:
        blocks = int(np.clip(round(len(visit.sent) / max(1, visit.users)), 1, max(1, int(visit.seconds))))
        edges = np.linspace(visit.start, visit.end, blocks + 1)
        overlap = np.minimum(start + seconds, edges[1:, None]) - np.maximum(start, edges[:-1, None])
        tokens = (count * np.clip(overlap / seconds, 0, 1)).sum(axis=1)
        if visit.seconds > 0 and len(visit.sent):
            counts.append(TokenCounts(visit.users, len(visit.sent), visit.seconds, tokens / np.diff(edges)))
    return counts


def _lengths(evidence: Evidence, assignment: LevelAssignment) -> dict[int, Lengths]:
    tokens = numbers(evidence.replies, "tokens_out")
    whole = is_any(evidence.replies, "outcome", {Outcome.COMPLETE})
    by_users: dict[int, list[Floats]] = {}
    for level, rows in zip(assignment.levels, rows_by_level(assignment), strict=True):
        by_users.setdefault(level.users, []).append(tokens[rows[whole[rows] & ~np.isnan(tokens[rows])]])
    lengths = {}
    for users, parts in by_users.items():
        values = np.concatenate(parts)
        if len(values) > 1:
            lengths[users] = Lengths(len(values), float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5))
    return lengths


def _mean(values: Floats) -> float | None:
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else None


def _cached(evidence: Evidence) -> float | None:
    cached, given = numbers(evidence.replies, "tokens_cached"), numbers(evidence.replies, "tokens_in")
    known = ~np.isnan(cached) & (given > 0)
    return float(cached[known].sum() / given[known].sum()) if known.any() else None


def joined(runs: Sequence[RunReplies]) -> RunReplies:
    """Put the repeated runs of one set-up one after another, with people of their own."""
    if len(runs) == 1:
        return runs[0]
    shifts: list[tuple[float, int]] = []
    at, people = 0.0, 0
    for run in runs:
        shifts.append((at, people))
        at += run.end + 1.0
        people += 1 + max((int(v.user.max()) for v in run.visits[OVERALL] if len(v.user)), default=0)
    names = [name for name in runs[0].visits if all(name in run.visits for run in runs)]
    both: Any = list(zip(runs, shifts, strict=True))
    return RunReplies(
        visits={name: [_shifted(v, by) for run, by in both for v in run.visits[name]] for name in names},
        samples={
            name: [Sample(_shifted(one.visit, by), one.value) for run, by in both for one in run.samples[name]]
            for name in runs[0].samples
        },
        tokens=[one for run in runs for one in run.tokens],
        critical=max((run.critical for run in runs if run.critical is not None), default=None),
        tokens_out=runs[0].tokens_out,
        tokens_in=runs[0].tokens_in,
        cached=runs[0].cached,
        end=at,
    )


def _shifted(visit: Visit, by: tuple[float, int]) -> Visit:
    seconds, people = by
    return replace(
        visit,
        user=visit.user + people,
        sent=visit.sent + seconds,
        start=visit.start + seconds,
        end=visit.end + seconds,
    )
