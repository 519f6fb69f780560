"""How rules say what they say, and how sure they are."""

from collections.abc import Mapping

from probe_ext.verdict.values.ruling_types import Confidence, Fact, Ruling

CONFIDENCES: tuple[Confidence, ...] = ("low", "medium", "high")


def graded(signs: Mapping[str, bool | None]) -> tuple[Confidence, str]:
    """Confidence from independent signs beside the one that a rule rests on: high with two that agree, else medium
    with one, else low; one that disagrees takes a grade away. None: the sign could not be looked for."""
    agree = [name for name, seen in signs.items() if seen]
    against = [name for name, seen in signs.items() if seen is False]
    grade = max(0, min(2, len(agree)) - len(against))
    told = [f"for it also: {', '.join(agree)}"] if agree else []
    told += [f"against it: {', '.join(against)}"] if against else []
    return CONFIDENCES[grade], "; ".join(told) or "nothing else was there to confirm it"


def absent(rule: str, why: str, *evidence: Fact) -> Ruling:
    """It does not hold."""
    return Ruling(rule, "absent", why, evidence=evidence)


def unknown(rule: str, why: str, needs: str, *evidence: Fact) -> Ruling:
    """It cannot be known."""
    return Ruling(rule, "unknown", why, needs=needs, evidence=evidence)


def advised(by_engine: Mapping[str, str], engine: str) -> str:
    """The advice for an engine, `` for any other."""
    return by_engine.get(engine) or by_engine[""]
