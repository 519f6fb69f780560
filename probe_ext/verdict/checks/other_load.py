"""Did the server work for others meanwhile? Then its replies do not reflect this run's load alone."""

from collections.abc import Sequence

from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import number, servers
from probe_ext.verdict.phrasing.formats import decimals, percent
from probe_ext.verdict.phrasing.plurals import levels as levels_named
from probe_ext.verdict.phrasing.plurals import things, was_or_were
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.others_share import MAX_OTHERS_SHARE, OthersShare

REPEAT_ALONE = (
    "Repeat the run while nobody else uses the server. A gateway that retries or duplicates requests shows the same."
)
MIN_RATE_RATIO, MAX_EXTRA_RATIO = 1.7, 1.3
"""This run's requests per second differ by so much between levels, and others' for each of them by so little, where
others' requests follow this run's. Somebody else's would be fewer for each, the more this run sends."""


def other_load_check(evidence: Evidence, levels: Sequence[LevelResult]) -> Finding:
    """Compare the server's work with this run's requests, level by level; invalid where no level is left."""
    crowded = [level for level in levels if not level.judged]
    before = busy_before(evidence)
    if crowded:
        none_left = len(crowded) == len(levels)
        why = f"Others used the server {'in every level' if none_left and len(levels) > 1 else 'meanwhile'}: "
        why += f"{_at_worst(crowded)}."
        extra = None if before else _extra_for_each(levels)
        if extra:
            why += f" But nothing ran before, and each request of this run came with at least {decimals(extra)} more "
            why += "at every level: a gateway that sends requests again looks like this."
        if not none_left:
            why += f" {capitalised_users(unjudged_users(levels))} not judged."
        return Finding("other_load", "fail", none_left, f"{why}{before and f' {before}.'}", REPEAT_ALONE)
    if before:
        known = [level for level in levels if level.others is not None]
        rest = " During the run it did little or nothing for others." if known else ""
        return Finding("other_load", "fail", False, f"{before}.{rest}", REPEAT_ALONE)
    if not any(level.others for level in levels):
        why = "Whether others used the server is not known: its counters don't show it."
        return Finding("other_load", "unproven", False, why)
    most = max((level.others.share for level in levels if level.others), default=0.0)
    much = f"at most {percent(MAX_OTHERS_SHARE)}" if most else "none"
    return Finding("other_load", "pass", False, f"By the server's counters, {much} of its work was for others.")


def unjudged_users(levels: Sequence[LevelResult]) -> list[int]:
    """Return the numbers of users that were only measured while others used the server too much."""
    judged = {level.users for level in levels if level.judged}
    return sorted({level.users for level in levels if not level.judged} - judged)


def capitalised_users(users: Sequence[int]) -> str:
    """Return `The level of 8 users is`, `The levels of 4 and 8 users are`, `One of its visits is`."""
    if not users:
        return "These visits are"
    if len(users) == 1:
        return f"The level of {things(users[0], 'user')} is"
    return f"The levels of {levels_named(users)} are"


def _at_worst(levels: Sequence[LevelResult]) -> str:
    worst = max(levels, key=lambda level: level.others.share if level.others else 0.0)
    return f"at {things(worst.users, 'user')}, {share_in_words(worst.others)}" if worst.others else ""


def _extra_for_each(levels: Sequence[LevelResult]) -> float | None:
    """Return how many requests of others came with each of this run's, if as many at every level; else None."""
    seen = [
        (level.replies / (level.t_end - level.t_start), level.others.requests / (1 - level.others.requests))
        for level in levels
        if level.others and level.others.requests and level.others.requests < 1 and level.t_end > level.t_start
    ]
    if len(seen) < 2 or len(seen) < len(levels):
        return None
    rates, extras = zip(*seen, strict=True)
    follows = max(rates) >= MIN_RATE_RATIO * min(rates) and max(extras) <= MAX_EXTRA_RATIO * min(extras)
    return min(extras) if follows else None


def share_in_words(others: OthersShare) -> str:
    """Return `at least 76 % of the tokens that it generated were not for this run`."""
    tokens, requests = others.tokens, others.requests
    if tokens is not None and (tokens == others.share or requests is None):
        return f"at least {percent(tokens)} of the tokens that it generated were not for this run"
    return f"at least {percent(requests)} of the requests that it finished were not from this run"


def busy_before(evidence: Evidence) -> str:
    """Return `Before the first user, 8 requests were running and 4 waiting`; empty where none were, or unknown."""
    running, waiting = (
        sum(int(number(server, key, 0.0)) for server in servers(evidence.manifest))
        for key in ("running_before", "waiting_before")
    )
    if not running and not waiting:
        return ""
    return f"Before the first user, {things(running, 'request')} {was_or_were(running)} running" + (
        f" and {waiting:,} waiting" if waiting else ""
    )
