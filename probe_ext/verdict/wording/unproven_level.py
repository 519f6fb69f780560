"""Why a level is neither proven to be served nor proven not to be, in words, and what would settle it."""

from collections.abc import Sequence

from probe_ext.verdict.inference.level_estimates import is_provable
from probe_ext.verdict.phrasing.formats import percent
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.values.capacity_estimate import Criteria
from probe_ext.verdict.values.level_result import LevelResult

_REASONS = {
    "too_few_replies": "too few replies",
    "too_close": "too close to call",
    "users_differ": "users are not served alike",
    "broken_bound": "too few replies to tell how often they break",
    "contradicts_higher_level": "more users were served better",
    "needs_second_visit": "one bad stretch explains it, perhaps another client's load; it needs a second visit",
    "visits_disagree": "its visits differ by more than chance",
    "other_load": "others used the server meanwhile",
}

_BROKEN = {
    True: "replies broke, and too few were judged to tell how often they do",
    False: "none broke here, but some did at another level, and there are too few replies to rule it out",
    None: _REASONS["broken_bound"],
}
"""By whether any broke at the level; None: not known here."""

MORE_REPLIES_TELL = {"too_few_replies", "too_close", "broken_bound"}
"""Reasons that replies alone may remove."""


def unprovable(profile_name: str, criteria: Criteria) -> tuple[str, str]:
    """Say that a profile asks for more than any run can prove, and what follows; empty texts if it does not."""
    if is_provable(criteria):
        return "", ""
    share = f"{100 * criteria.served_share:g} %"
    title = f"No run proves that {share} of the replies are served, as the profile {profile_name} requires."
    return title, "Levels can fail, but none can hold. Set users.served_share in the profile to 0.99 or less."


def reason_in_words(
    reasons: Sequence[str], served_share: float | None = None, broken_share: float | None = None
) -> str:
    """Return the first reason, in words, with what was seen at the level itself, where its shares are given.

    That replies are too few is no bad sign where all of them were served; nor where others broke, at another level.
    """
    if reasons and reasons[0] == "broken_bound":
        return _BROKEN[None if broken_share is None else broken_share > 0]
    if reasons[:1] and reasons[0] == "too_few_replies" and served_share == 1:
        return "all served so far, too few replies for a proof"
    return _REASONS[reasons[0] if reasons else "too_close"]


def what_settles(replies_needed: int | None) -> str:
    """Return `about 43 more replies would settle it`, or that no reasonable number would."""
    if not replies_needed:
        return "at this share, another hour would not settle it"
    return f"about {things(replies_needed, 'more reply', 'more replies')} would settle it"


def why_unproven(level: LevelResult) -> str:
    """Return the first reason, the served share with its interval, and how many more replies would settle it."""
    parts = [reason_in_words(level.reasons, level.served_share, level.broken_share)]
    if level.served_share is not None and level.served_share_low is not None and level.served_share_high is not None:
        span = f"{percent(level.served_share_low)} to {percent(level.served_share_high)}"
        parts.append(f"{percent(level.served_share)} of replies served, 95 % interval {span}")
    if {*level.reasons} <= MORE_REPLIES_TELL:
        parts.append(what_settles(level.replies_needed))
    return "; ".join(parts)
