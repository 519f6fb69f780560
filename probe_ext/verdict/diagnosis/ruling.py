"""Building blocks of rules: results, confidence, advice."""

from collections.abc import Mapping

from probe_ext.verdict.values.ruling_types import Confidence, Fact, Ruling

CONFIDENCES: tuple[Confidence, ...] = ("low", "medium", "high")


def graded(signs: Mapping[str, bool | None]) -> tuple[Confidence, str]:
    """Return a confidence and its reason, from independent signs beside the one that a rule rests on.

    High with two signs that agree, medium with one, low with none; each sign that disagrees lowers it by one grade.
    None: the sign could not be checked.
    """
    agree = [name for name, seen in signs.items() if seen]
    against = [name for name, seen in signs.items() if seen is False]
    grade = max(0, min(2, len(agree)) - len(against))
    reasons = [f"also supported by: {', '.join(agree)}"] if agree else []
    reasons += [f"contradicted by: {', '.join(against)}"] if against else []
    return CONFIDENCES[grade], "; ".join(reasons) or "no other sign could confirm it"


def absent(rule: str, why: str, *evidence: Fact) -> Ruling:
    """Return the result of a rule that does not hold."""
    return Ruling(rule, "absent", why, evidence=evidence)


def unknown(rule: str, why: str, needs: str, *evidence: Fact) -> Ruling:
    """Return the result of a rule whose state cannot be determined."""
    return Ruling(rule, "unknown", why, needs=needs, evidence=evidence)


def advised(by_engine: Mapping[str, str], engine: str) -> str:
    """Return the advice for an engine; the entry "" is for all others."""
    return by_engine.get(engine) or by_engine[""]
