"""What a climb without plateaus suggests, in a sentence: how many seemed served, and what seemed to break."""

from collections.abc import Sequence

from probe_ext.verdict.values.judgement import Climb
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.plurals import cause, feel, people

UNPROVEN = "nothing of it is proven yet"


def climb_sentence(climb: Climb, levels: Sequence[LevelResult], failed: int | None) -> str | None:
    """None where it suggests nothing. `failed`: a number of users that stood still and is proven to be too many."""
    low, high = climb.bracket
    if failed is not None and (high is None or failed <= high):
        return _below(low, failed, levels) if low is not None and low < failed else None
    if high is not None:
        seemed = feel(low) if low is not None else f"fewer than {people(high)} at once feel served"
        return f"A climb suggests that {seemed}; at {high:,} {_broke(high, levels)} broke first; {UNPROVEN}."
    return None if low is None else f"A climb suggests that {feel(low)}; {_above(low, levels)}; {UNPROVEN}."


def _below(low: int, failed: int, levels: Sequence[LevelResult]) -> str:
    """A level is proven to fail; below it there is only the climb."""
    many = f"{people(failed)} are too many, {_broke(failed, levels)} broke first"
    return f"No answer yet: {many}; a climb suggests that {feel(low)}, which is not proven."


def _above(low: int, levels: Sequence[LevelResult]) -> str:
    """No band seemed to fail: whether that is for want of people, or of replies."""
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
