"""The answer in one plain sentence, for a reader who has never seen the tool."""

from collections.abc import Mapping, Sequence

from probe_ext.verdict.values.dimension_result import DimensionResult
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.judgement import Ramp
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.plurals import cause, feel, listed, people, things
from probe_ext.verdict.wording.early_end import NEVER_STILL
from probe_ext.verdict.wording.gap import gap, told

RAMP_UNPROVEN = "nothing of it is proven yet"
_NOT_THE_MODEL = {"response_cache": "from a response cache", "cut_answers": "cut short"}
"""Rules of the diagnosis under which the answers are not the model's own, in plain words."""

INVALID_RESULT = "Reported result (invalid run):"

Bracket = tuple[int | None, int | None]


def sentence(
    served: int | None,
    between: Bracket,
    broke: str,
    levels: Sequence[LevelResult],
    ramp: Ramp | None,
    findings: Sequence[Finding],
    bounds: Sequence[str] = (),
) -> str:
    """Return the whole answer; for an invalid run, after the reason why it is invalid.

    `broke` comes from `what_broke`; `bounds` are the rules of the diagnosis that hold.
    """
    said = _answer(served, between, broke, levels, ramp) or f"No answer: {_why_nothing(findings)}"
    said = said if served is None else _of_such_answers(said, bounds)
    invalid = [finding for finding in findings if finding.makes_invalid]
    if not invalid:
        return said
    return f"Invalid measurement: {invalid[0].why.rstrip('.')}. {INVALID_RESULT} {said}"


def _answer(
    served: int | None,
    between: Bracket,
    broke: str,
    levels: Sequence[LevelResult],
    ramp: Ramp | None,
) -> str | None:
    """None where there is no level."""
    if served is None:
        return _unproven(between, levels, ramp)
    if served == 0:
        return _none(between[1] or 0, broke)
    if between[1] is not None:
        return _bracketed(served, between[1], broke, levels)
    return _open_above(served, levels)


def not_the_models(bounds: Sequence[str]) -> str:
    """What the answers were, by the rules that hold, if not what the model says when it is asked; else empty."""
    return listed([words for rule, words in _NOT_THE_MODEL.items() if rule in bounds])


def _of_such_answers(said: str, bounds: Sequence[str]) -> str:
    """People were served with something else than what the model says when it is asked: that belongs to the answer."""
    what = not_the_models(bounds)
    return f"With answers {what}, {said[:1].lower()}{said[1:]}" if what else said


def what_broke(breaks_first: str | None, failed: int | None, dimensions: Mapping[str, DimensionResult]) -> str:
    """What broke. A dimension that by itself fails only further up did not break the level that failed."""
    alone = dimensions[breaks_first].bracket[1] if breaks_first and breaks_first in dimensions else None
    if alone is not None and failed is not None and alone > failed:
        return f"{cause(None)} broke first ({cause(breaks_first)} by itself only at {alone:,})"
    return f"{cause(breaks_first)} broke first"


def _bracketed(served: int, failed: int, broke: str, levels: Sequence[LevelResult]) -> str:
    between = told(gap(served, failed, {level.users for level in levels if not level.band}))
    return _capital(f"{feel(served)}; at {failed:,} {broke}{f'; {between}' if between else ''}.")


def _none(lowest: int, broke: str) -> str:
    if lowest <= 1:
        return f"Not even one person feels served: {broke}."
    return f"Nobody is proven served: at {people(lowest)}, the lowest level measured, {broke}."


def _open_above(served: int, levels: Sequence[LevelResult]) -> str:
    above = sorted({level.users for level in levels if level.users > served and not level.band})
    if above:
        return _capital(f"{feel(served)}; at {above[0]:,} the run was too short to tell.")
    return _capital(f"{feel(served)}; more were not measured.")


def _why_nothing(findings: Sequence[Finding]) -> str:
    """As the check of the levels has it."""
    why = next((finding.why for finding in findings if finding.check == "levels"), f"{NEVER_STILL}.")
    return f"{why[:1].lower()}{why[1:]}"


def _unproven(between: Bracket, levels: Sequence[LevelResult], ramp: Ramp | None) -> str | None:
    failed = between[1]
    suggested = ramp_sentence(ramp, levels, failed) if ramp else None
    if suggested:
        return suggested
    if not levels:
        return None
    more = _would_tell([level for level in levels if failed is None or level.users < failed])
    if failed is not None:
        return f"No answer yet: {people(failed)} are too many, and below that nothing was measured long enough{more}."
    return f"No answer yet: no level had enough replies to tell{more}."


def _would_tell(levels: Sequence[LevelResult]) -> str:
    needed = next((level for level in levels if level.replies_needed), None)
    if needed is None:
        return ""
    missing = things(needed.replies_needed or 0, "more reply", "more replies")
    return f"; about {missing} at {things(needed.users, 'user')} would"


def ramp_sentence(ramp: Ramp, levels: Sequence[LevelResult], failed: int | None) -> str | None:
    """Say what a ramp suggests; None for nothing. `failed`: a number of users held long enough to prove too many."""
    low, high = ramp.bracket
    if failed is not None and (high is None or failed <= high):
        return _below(low, failed, levels) if low is not None and low < failed else None
    if high is not None:
        seemed = feel(low) if low is not None else f"fewer than {people(high)} at once feel served"
        return f"A ramp suggests that {seemed}; at {high:,} {_broke(high, levels)} broke first; {RAMP_UNPROVEN}."
    return None if low is None else f"A ramp suggests that {feel(low)}; {_above(low, levels)}; {RAMP_UNPROVEN}."


def _below(low: int, failed: int, levels: Sequence[LevelResult]) -> str:
    many = f"{people(failed)} are too many, {_broke(failed, levels)} broke first"
    return f"No answer yet: {many}; a ramp suggests that {feel(low)}, which is not proven."


def _above(low: int, levels: Sequence[LevelResult]) -> str:
    """Say why no band seemed to fail: for want of users, or of replies."""
    above = sorted((level for level in levels if level.users_low > low), key=lambda level: level.users_low)
    lost = next((level for level in above if level.users_strained + level.users_broken), None)
    if lost is not None:
        return f"from {lost.users_low:,} on {_cost(lost)} cost some of them, too few to tell how many"
    return "above that it was too short to tell" if above else "more were not measured"


def _broke(users: int, levels: Sequence[LevelResult]) -> str:
    return next(
        (_cost(level) for level in levels if users in {level.users, level.users_high} and level.why), cause(None)
    )


def _cost(level: LevelResult) -> str:
    return cause(level.why[0] if level.why else None)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
