"""Visits that a search left for more users, since replies did well so far: they explain its way, and prove nothing."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from probe_ext.verdict.evidence.columns import numbers, select, text_column
from probe_ext.verdict.evidence.evidence import Evidence, quantile
from probe_ext.verdict.evidence.manifest_view import mappings, number, search_of
from probe_ext.verdict.grading.kind_profiles import KindProfiles
from probe_ext.verdict.grading.reply_grades import SERVED, UNJUDGED
from probe_ext.verdict.levels.cut_at_rise import as_of
from probe_ext.verdict.levels.level_assignment import sent_at
from probe_ext.verdict.values.level_result import ShortVisit


def short_visits(evidence: Evidence, profiles: KindProfiles) -> tuple[ShortVisit, ...]:
    """Return what was seen in each visit that a search left for more users before it measured it, in order of time."""
    found = mappings(search_of(evidence.manifest).get("steps"))
    steps = [step for step in found if isinstance(step.get("users"), int)]
    climbed = [now for now, after in itertools.pairwise(steps) if after["users"] > now["users"] and _is_short(now)]
    return tuple(_visit(evidence, profiles, step) for step in climbed)


def _is_short(step: Mapping[str, Any]) -> bool:
    known = all(number(step, key) is not None for key in ("from", "until"))
    return known and step.get("measured_from") is None


def _visit(evidence: Evidence, profiles: KindProfiles, step: Mapping[str, Any]) -> ShortVisit:
    until, sent = number(step, "until", 0.0), sent_at(evidence)
    start = _all_there(evidence, step["users"], number(step, "from", 0.0), until)
    rows = np.flatnonzero((sent >= start) & (sent <= until))
    so_far = as_of(select(evidence.replies, rows), np.full(len(rows), until))
    graded = profiles.grade(so_far, text_column(evidence.replies, "scenario")[rows], None)
    # With a first word, a reply does well or not so far; without one, a bound that it has passed tells.
    tells = (graded.overall != UNJUDGED) | ~np.isnan(graded.experience.waited)
    return ShortVisit(
        users=step["users"],
        t_start=start,
        t_end=until,
        replies=len(rows),
        replies_observed=int(tells.sum()),
        replies_within_bounds=int((graded.overall[tells] <= SERVED).sum()),
        first_word_p50=quantile(graded.experience.waited, 0.5),
    )


def _all_there(evidence: Evidence, users: int, start: float, until: float) -> float:
    """Return when all users were there: those who arrive ask all at once, which says little of so many users."""
    t, count = numbers(evidence.users, "t"), numbers(evidence.users, "users")
    reached = t[(t >= start) & (t <= until) & (count == users)]
    return float(reached.min()) if len(reached) else start


def went_well(visits: Sequence[ShortVisit], needed_share: float) -> list[int]:
    """Return the numbers of users at which enough replies did well, by rising users."""
    fine = {
        one.users
        for one in visits
        if one.replies_observed and one.replies_within_bounds >= needed_share * one.replies_observed
    }
    return sorted(fine)
