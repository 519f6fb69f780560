"""Why a level is neither held nor failed, and what would settle it."""

from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.plurals import things


def why_undecided(level: LevelResult) -> str:
    """Say that a level has too few replies, or that undecided users decide it."""
    more = f"about {things(level.replies_needed or 0, 'more reply', 'more replies')}"
    judged = level.users_served + level.users_strained + level.users_broken + level.users_undecided
    had = f"only {things(level.replies, 'reply', 'replies')}" if judged else "no reply that could be judged"
    if not level.users_undecided:
        return f"{had}; {more}"
    most = level.users_served + level.users_undecided
    close = (
        f"{level.users_served:,} to {most:,} of {judged:,} are served: {level.users_undecided:,} had too few replies"
    )
    return f"{close} to tell; {more}"
