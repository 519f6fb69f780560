"""What is going on, in a sentence or two: the same on the page and on a terminal."""

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
    """A sentence that may begin with the number that matters."""

    number: str
    rest: str
    tone: Tone = ""


def headline(now: Now | None, rules: Rules) -> Headline:
    """Who feels served."""
    if now is None or not now.users:
        return Headline("", "Nobody is using the server.")
    heard = now.users_served + now.users_strained + now.users_broken + now.users_undecided
    if not heard:
        return Headline("", f"{plurals.people(now.users)}, and none heard yet.")
    if now.users == 1:
        return Headline("", "One person feels served." if now.users_served else "One person does not feel served.")
    feel = "feels" if now.users_served == 1 else "feel"
    share = rules.profile.level.served_share * heard
    lost = now.users_strained + now.users_broken
    tone: Tone = "good" if now.users_served >= share else "bad" if heard - lost < share else ""
    rest = f" of {plurals.people(max(now.users, heard))} {feel} served."
    return Headline(f"{now.users_served:,}", rest, tone)


def answered(sentence: str) -> tuple[Headline, str]:
    """A report's sentence: its answer, and what it adds."""
    found = _ANSWER.match(sentence)
    if found is None:
        return Headline("", sentence), ""
    more = found[3].strip()
    return Headline(found[1], f"{found[2]}.", "good"), more[:1].upper() + more[1:]


def progress(now: Now | None, rules: Rules) -> str:
    """Where the level stands that is being measured, or when measuring begins."""
    if now is None or not now.users:
        return ""
    if now.level is not None:
        return f"{plurals.people(now.users)} for {now.t - now.level.t_start:.0f} s: {standing(now.level, rules)}."
    if now.settles_in is not None:
        return f"The number of people has changed: measuring begins in {now.settles_in:.0f} s."
    return "The number of people is changing."


def standing(level: LevelNow, rules: Rules) -> str:
    """What the level would be if nothing more came."""
    if level.state == "held":
        return "so far this level holds"
    if level.state == "failed":
        return (
            f"so far this level fails, by {plurals.listed([plurals.cause(one) for one in level.why]) or 'all together'}"
        )
    if level.users_told >= level.users:
        return f"too early to say, {plurals.people(level.users_undecided)} not decided yet"
    enough = plurals.things(rules.min_replies, "judged reply", "judged replies")
    return f"too early to say, {level.users_told} of {level.users} have {enough}"
