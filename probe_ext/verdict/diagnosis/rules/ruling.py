"""Building blocks of rules: results, confidence, advice."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.facts.level_load import Load
from probe_ext.verdict.values.ruling_types import Confidence, Fact, Ruling
from probe_ext.verdict.wording.next_run import MAX_HOLD_S

CONFIDENCES: tuple[Confidence, ...] = ("low", "medium", "high")
USUALLY_TOO_LARGE = 2.0
"""by which an error is too large where that is not known"""
MIN_TIMES = 2
"""as long as before, at least"""


Signs = Mapping[str, bool | None]


@dataclass(frozen=True)
class Deferred(Ruling):
    """A rule that is ruled out because another one explains what was seen."""

    see: str = ""
    """the other rule"""


def graded(same_source: Signs, other_source: Signs) -> tuple[Confidence, str]:
    """Return a confidence and its reason, from independent signs beside the one that a rule rests on.

    High with two signs that agree, one of them from another source; medium with one, low with none. Each sign that
    disagrees lowers it by one grade. None: the sign could not be checked.
    """
    signs = {**other_source, **same_source}
    agree = [name for name, seen in signs.items() if seen]
    against = [name for name, seen in signs.items() if seen is False]
    most = 2 if any(other_source.values()) else 1
    grade = max(0, min(most, len(agree)) - len(against))
    reasons = [f"further signs for it: {', '.join(agree)}"] if agree else []
    reasons += [f"expected, but not seen: {', '.join(against)}"] if against else []
    return CONFIDENCES[grade], "; ".join(reasons) or "no further sign could confirm it"


def holds(
    rule: str,
    why: str,
    label: str,
    grade: tuple[Confidence, str],
    advice: str,
    evidence: Sequence[Fact],
    from_users: int | None = None,
) -> Ruling:
    """Return the result of a rule that holds."""
    return Ruling(
        rule, "holds", why, label=label, from_users=from_users, evidence=tuple(evidence),
        confidence=grade[0], confidence_from=grade[1], advice=advice,
    )  # fmt: skip


def absent(rule: str, why: str, *evidence: Fact) -> Ruling:
    """Return the result of a rule that does not hold."""
    return Ruling(rule, "absent", why, evidence=evidence)


def deferred(rule: str, why: str, see: str, *evidence: Fact) -> Deferred:
    """Return the result of a rule that does not hold because another one explains what was seen."""
    return Deferred(rule, "absent", f"{why}: see `{see}`.", evidence=evidence, see=see)


def unknown(rule: str, why: str, needs: str, *evidence: Fact) -> Ruling:
    """Return the result of a rule whose state cannot be determined."""
    return Ruling(rule, "unknown", why, needs=needs, evidence=evidence)


def needed_metrics(facts: Facts, figures: str, *quantities: str) -> str:
    """Return what is needed to know these quantities: the server's metrics, only if they were not read already."""
    if not facts.reported:
        return f"the server's metrics: {figures}"
    if not facts.reported.issuperset(quantities):
        return f"{figures}, which this server's metrics do not include"
    return f"{longer_levels(facts.loads)}: too few samples of the server's metrics ({figures}) lie within them"


def longer_levels(loads: Sequence[Load], too_large: float = USUALLY_TOO_LARGE) -> str:
    """Return `longer levels (--hold 80)`: as long as it takes, at these loads, for a standard error so much smaller.

    Errors fall with the root of the time. In whole tens of seconds; what would take MAX_HOLD_S or more is cut there.
    """
    seconds = min((load.t_end - load.t_start for load in loads), default=0.0) * max(MIN_TIMES, too_large**2)
    if not seconds < MAX_HOLD_S:
        return f"longer levels (--hold {MAX_HOLD_S:g} or more)"
    return f"longer levels (--hold {max(10, 10 * math.ceil(seconds / 10))})"


def advised(by_engine: Mapping[str, str], engine: str) -> str:
    """Return the advice for an engine; the entry "" is for all others."""
    return by_engine.get(engine) or by_engine[""]
