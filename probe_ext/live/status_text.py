"""The current state in a sentence or two, for the live page."""

import re
from dataclasses import dataclass
from typing import Literal

from probe_ext.live.live_levels import LevelNow, Rules
from probe_ext.live.live_run import Now
from probe_ext.verdict.values import plurals

_ANSWER = re.compile(r"([\d,]+)( people at once feel served)[;.](.*)", re.DOTALL)

Tone = Literal["", "good", "bad"]


@dataclass(frozen=True)
class Headline:
    """A sentence that may start with a number, which is emphasised."""

    number: str
    rest: str
    tone: Tone = ""


def headline(now: Now | None, rules: Rules) -> Headline:
    """Say how many users are served."""
    if now is None or not now.users:
        return Headline("", "No users.")
    with_replies = now.users_served + now.users_strained + now.users_broken + now.users_undecided
    if not with_replies:
        return Headline("", f"{plurals.people(now.users)}, no replies yet.")
    if now.users == 1:
        return Headline("", "One person is served." if now.users_served else "One person is not served.")
    verb = "is" if now.users_served == 1 else "are"
    share = rules.profile.level.served_share * with_replies
    not_served = now.users_strained + now.users_broken
    tone: Tone = "good" if now.users_served >= share else "bad" if with_replies - not_served < share else ""
    rest = f" of {plurals.people(max(now.users, with_replies))} {verb} served."
    return Headline(f"{now.users_served:,}", rest, tone)


def answered(sentence: str) -> tuple[Headline, str]:
    """Split a report's headline into the capacity and the rest."""
    match = _ANSWER.match(sentence)
    if match is None:
        return Headline("", sentence), ""
    rest = match[3].strip()
    return Headline(match[1], f"{match[2]}.", "good"), rest[:1].upper() + rest[1:]


def progress(now: Now | None, rules: Rules) -> str:
    """Say how the current level is doing, or when measuring starts."""
    if now is None or not now.users:
        return ""
    if now.level is not None:
        return f"{plurals.people(now.users)} for {now.t - now.level.t_start:.0f} s: {level_status(now.level, rules)}."
    if now.settles_in is not None:
        return f"The number of users has changed; measuring starts in {now.settles_in:.0f} s."
    return "The number of users is changing."


def level_status(level: LevelNow, rules: Rules) -> str:
    """Return the level's state by the replies so far."""
    if level.state == "held":
        return "this level holds so far"
    if level.state == "failed":
        causes = plurals.listed([plurals.cause(dimension) for dimension in level.why])
        return f"this level fails so far, limited by {causes or 'all dimensions together'}"
    if level.users_told >= level.users:
        return f"too early to say, {plurals.people(level.users_undecided)} undecided"
    enough = plurals.things(rules.min_replies, "judged reply", "judged replies")
    return f"too early to say, {level.users_told} of {level.users} have {enough}"
