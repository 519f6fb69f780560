"""Percentiles are shown only over as many replies as they need; so are percentages of replies."""

from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.sketch import MIN_COUNTS
from probe_ext.report.wording.shared_sentences import GRADES
from probe_ext.verdict.phrasing.formats import percent
from probe_ext.verdict.phrasing.plurals import is_or_are
from probe_ext.verdict.results.slo_metrics import MIN_FINISHED

_WITHOUT_TOKENS = (
    *(Outcome.EMPTY, Outcome.REJECTED, Outcome.HTTP_ERROR, Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT),
    *(Outcome.TIMEOUT_FIRST, Outcome.CLIENT_ERROR),
)


def why_not_shown(key: str, level: Mapping[str, Any]) -> str:
    """Return why a level's figure is not shown; empty where it is no percentile, or there are enough replies."""
    needed = MIN_COUNTS.get(key[-3:], 0)
    outcomes = level["outcomes"]
    replies = level["replies_judged"] - sum(outcomes.get(outcome, 0) for outcome in _WITHOUT_TOKENS)
    if replies >= needed:
        return ""
    return f"{key[-3:]} needs {needed} replies with text, there {is_or_are(replies)} {replies:,}"


def figure(level: Mapping[str, Any], key: str) -> float | None:
    """Return a figure of a level; None where it is missing, or a percentile of too few replies."""
    value = level[key]
    return None if value is None or why_not_shown(key, level) else float(value)


def few_finished(visits: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return `2 of 3` by grade, of the visits together, where too few replies finished for a percentage; else empty."""
    counts = {grade: sum(visit[f"replies_{grade}"] for visit in visits) for grade in GRADES}
    finished = sum(counts.values())
    return {grade: f"{number} of {finished}" for grade, number in counts.items()} if finished < MIN_FINISHED else {}


def share_text(level: Mapping[str, Any], grade: str, share: float | None) -> str:
    """Return a level's share of replies of a grade: `98 %`, `2 of 3` where too few replies finished, or a dash."""
    return percent(share) if share is None else few_finished([level]).get(grade) or percent(share)
