"""The range in which the capacity lies as far as a search knows: what is proven, and what replies so far suggest."""

from collections.abc import Sequence
from dataclasses import dataclass

from probe_ext.load.boundary_search import EarlyRange
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from probe_ext.verdict.values.json_types import Load


@dataclass(frozen=True)
class KnownRange:
    """From how many users to how many the capacity is."""

    low: Load
    high: Load
    low_proven: bool
    """by the estimator, with its stated error; so is an end at 0, below which there is nothing"""
    high_proven: bool
    good: Sequence[Load] = ()
    """levels at which replies did well so far, below `bad`"""
    bad: Load | None = None
    """the lowest level at which they did not"""
    bad_in_flight: bool = False
    """whether only replies that have not ended yet say so"""


def levels_seen(
    estimate: CapacityEstimate | None, early: EarlyRange, needed_share: float
) -> tuple[list[Load], Load | None]:
    """Return the levels at which replies did well so far, and the lowest at which too few of them did.

    The first replies of a level are its fast ones, so it counts as good only with as many replies as users. A level
    that doubling left for a higher one did well when it was left.
    """
    levels = estimate.levels if estimate else ()
    bad = [level.users for level in levels if level.share_high is not None and level.share_high < needed_share]
    bad += [] if early.overloaded is None else [early.overloaded]
    lowest = min(bad, default=None)
    judged = {level.users: level.share_fit >= needed_share for level in levels if level.replies >= level.users}
    good = {users for users, well in judged.items() if well} | (set(early.fine) - set(judged))
    return sorted(users for users in good if lowest is None or users < lowest), lowest


def known_range(estimate: CapacityEstimate | None, early: EarlyRange, needed_share: float) -> KnownRange | None:
    """Return the range; None while no number of users has been too many.

    A level that only looks good may not be, so a lower end that is not proven lies at the one below it.
    """
    low, high = (estimate and estimate.interval) or (0, None)
    good, bad = levels_seen(estimate, early, needed_share)
    if bad is not None and bad <= low:  # it only looked bad: more than that are proven
        bad = None
    if high is None and bad is None:
        return None
    suggested = _suggested_low(good, estimate, needed_share)
    top = high if high is not None else max(0, (bad or 1) - 1)
    return KnownRange(
        low=min(low or suggested, top),
        high=top,
        low_proven=bool(low) or not suggested,
        high_proven=high is not None,
        good=good,
        bad=bad,
        bad_in_flight=bad is not None and bad == early.overloaded and not _has_replies(estimate, bad),
    )


def _has_replies(estimate: CapacityEstimate | None, users: Load | None) -> bool:
    return any(level.users == users and level.replies for level in (estimate.levels if estimate else ()))


def _suggested_low(good: Sequence[Load], estimate: CapacityEstimate | None, needed_share: float) -> Load:
    """Return the level below the highest good one, or the highest below the first doubtful one; 0 if there is none."""
    levels = estimate.levels if estimate else ()
    doubtful = min((level.users for level in levels if level.share_fit < needed_share), default=None)
    below = good[:-1] if doubtful is None else [users for users in good[:-1] if users < doubtful]
    return below[-1] if below else 0
