"""The answer in one plain sentence, for somebody who has never seen the tool."""

from collections.abc import Sequence

from probe_ext.verdict.judgement import Climb, Finding, LevelResult
from probe_ext.verdict.words import cause, feel, people, things

Bracket = tuple[int | None, int | None]


def sentence(
    served: int | None,
    between: Bracket,
    breaks_first: str | None,
    levels: Sequence[LevelResult],
    climb: Climb | None,
    findings: Sequence[Finding],
) -> str:
    """The whole answer; before it, that it is not to be believed, where it is not."""
    said = _answer(served, between, breaks_first, levels, climb)
    spoiled = [finding for finding in findings if finding.spoils]
    if not spoiled:
        return said
    return f"This run is not to be believed: {spoiled[0].why.rstrip('.')}. Taken at its word: {said}"


def _answer(
    served: int | None,
    between: Bracket,
    breaks_first: str | None,
    levels: Sequence[LevelResult],
    climb: Climb | None,
) -> str:
    if served is None:
        return _unproven(between, levels, climb)
    if served == 0:
        return _none(between[1] or 0, breaks_first)
    if between[1] is not None:
        return _bracketed(served, between[1], breaks_first)
    return _open_above(served, levels)


def _broke(breaks_first: str | None) -> str:
    return f"{cause(breaks_first)} broke first"


def _bracketed(served: int, failed: int, breaks_first: str | None) -> str:
    gap = "; between them was not measured" if failed - served > 1 else ""
    return _capital(f"{feel(served)}; at {failed:,} {_broke(breaks_first)}{gap}.")


def _none(lowest: int, breaks_first: str | None) -> str:
    if lowest <= 1:
        return f"Not even one person feels served: {_broke(breaks_first)}."
    return f"Nobody is proven served: at {people(lowest)}, the lowest level measured, {_broke(breaks_first)}."


def _open_above(served: int, levels: Sequence[LevelResult]) -> str:
    above = sorted({level.users for level in levels if level.users > served and not level.band})
    if above:
        return _capital(f"{feel(served)}; at {above[0]:,} the run was too short to tell.")
    return f"At least {feel(served)}: {served:,} was the highest level measured, and it held."


def _unproven(between: Bracket, levels: Sequence[LevelResult], climb: Climb | None) -> str:
    if climb is not None and climb.bracket != (None, None):
        return _climbed(climb.bracket)
    if not levels:
        return "No answer: the number of users never stood still long enough to measure anything."
    if between[1] is not None:
        return f"No answer yet: {people(between[1])} are too many, and below that nothing was measured long enough."
    needed = [level for level in levels if level.replies_needed]
    missing = things(needed[0].replies_needed or 0, "more reply", "more replies") if needed else ""
    more = f"; about {missing} at {things(needed[0].users, 'user')} would" if needed else ""
    return f"No answer yet: no level had enough replies to tell{more}."


def _climbed(between: Bracket) -> str:
    low, high = between
    if low is None:
        return f"Fewer than about {high:,} people at once feel served, as a climb suggests; it proves nothing yet."
    if high is None:
        return f"About {low:,} people at once or more feel served, as a climb suggests; it proves nothing yet."
    return f"Somewhere from {low:,} to {high:,} people at once feel served, as a climb suggests; it proves nothing yet."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
