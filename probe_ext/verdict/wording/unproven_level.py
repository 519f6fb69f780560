"""Why a level is neither held nor failed, in words: whom too little was heard of, and what would settle it."""

from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.plurals import things


def why_undecided(level: LevelResult) -> str:
    """Too few replies, or people between served and not who decide it."""
    more = f"about {things(level.replies_needed or 0, 'more reply', 'more replies')}"
    heard = level.users_served + level.users_strained + level.users_broken + level.users_undecided
    had = f"only {things(level.replies, 'reply', 'replies')}" if heard else "no reply that could be judged"
    if not level.users_undecided:
        return f"{had}; {more}"
    most = level.users_served + level.users_undecided
    close = f"{level.users_served:,} to {most:,} of {heard:,} are served: {level.users_undecided:,} had too few replies"
    return f"{close} to tell; {more}"
