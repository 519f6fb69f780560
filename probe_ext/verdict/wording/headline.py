"""The answer in one plain sentence, for somebody who has never seen the tool."""

from collections.abc import Sequence

from probe_ext.verdict.values.dimension_result import Question
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.judgement import Climb
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.plurals import cause, feel, listed, people, things
from probe_ext.verdict.wording.early_end import NEVER_STILL
from probe_ext.verdict.wording.gap import gap, told
from probe_ext.verdict.wording.ramp_sentence import climb_sentence

_SOMETHING_ELSE = {"response_cache": "from a response cache", "cut_answers": "cut short"}
"""rules of the diagnosis under which the figures are not those of the model, as one says it"""

Bracket = tuple[int | None, int | None]


def sentence(
    served: int | None,
    between: Bracket,
    broke: str,
    levels: Sequence[LevelResult],
    climb: Climb | None,
    findings: Sequence[Finding],
    bounds: Sequence[str] = (),
) -> str:
    """The whole answer; before it, that it is not to be believed, where it is not.

    `broke` is what `what_broke` says; `bounds` the rules of the diagnosis that hold.
    """
    said = _answer(served, between, broke, levels, climb) or f"No answer: {_why_nothing(findings)}"
    said = said if served is None else _of_such_answers(said, bounds)
    spoiled = [finding for finding in findings if finding.spoils]
    if not spoiled:
        return said
    return f"This run is not to be believed: {spoiled[0].why.rstrip('.')}. Taken at its word: {said}"


def _answer(
    served: int | None,
    between: Bracket,
    broke: str,
    levels: Sequence[LevelResult],
    climb: Climb | None,
) -> str | None:
    """None where there is no level."""
    if served is None:
        return _unproven(between, levels, climb)
    if served == 0:
        return _none(between[1] or 0, broke)
    if between[1] is not None:
        return _bracketed(served, between[1], broke, levels)
    return _open_above(served, levels)


def not_the_models(bounds: Sequence[str]) -> str:
    """What the answers were, by the rules that hold, if not what the model says when it is asked; else empty."""
    return listed([words for rule, words in _SOMETHING_ELSE.items() if rule in bounds])


def _of_such_answers(said: str, bounds: Sequence[str]) -> str:
    """People were served with something else than what the model says when it is asked: that belongs to the answer."""
    what = not_the_models(bounds)
    return f"With answers {what}, {said[:1].lower()}{said[1:]}" if what else said


def what_broke(breaks_first: str | None, failed: int | None, questions: Sequence[Question]) -> str:
    """What broke. A dimension that by itself fails only further up did not break the level that failed."""
    alone = next((one.bracket[1] for one in questions if one.dimension == breaks_first), None)
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


def _unproven(between: Bracket, levels: Sequence[LevelResult], climb: Climb | None) -> str | None:
    failed = between[1]
    suggested = climb_sentence(climb, levels, failed) if climb else None
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


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
