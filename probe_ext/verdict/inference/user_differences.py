"""Do users differ by more than chance, and who is worse off?

Within a short stretch (a third of a cycle) all users meet the same queue. If they are alike, the unserved replies of
a stretch fall on its senders as in a draw without replacement. A user's residual r is the sum over stretches of
served − expected; under the draw its variance V is known. Where users differ, residuals of one user keep their sign, so
Σ r² exceeds Σ V (the score test for a random effect: C. Dean, Journal of the American Statistical Association 87 (1992)
451–457). What is random in Σ r² is the products of different stretches, which gives its variance. Its cube root is
nearly normal (E. B. Wilson, M. M. Hilferty, PNAS 17 (1931) 684–688).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats, Ints
from probe_ext.verdict.inference.observations import Level, Visit, in_order, level_of
from probe_ext.verdict.inference.quantiles import normal_quantile
from probe_ext.verdict.values.capacity_estimate import Criteria

DIFFER_PART, DIFFER_PART_IN_SEARCH, DIFFER_PART_AT_ONE_LEVEL = 1 / 3, 1 / 13, 1 / 50
"""of the error that the run may have: how often chance makes users differ who are alike, over all levels, over those
of a search, which looks repeatedly, and at each level"""
REST_ALIKE = 0.84
"""standard errors"""
MIN_REPLIES_PER_USER, FEW_REPLIES_EXCESS = 5, 5.0
"""Replies in stretches with served and unserved ones; standard errors that it takes with fewer, as a user may have
met the same phase of a queue each time."""
MIN_STRETCH = 6
"""replies"""
EM_STEPS = 200


@dataclass(frozen=True)
class UserResiduals:
    """One figure for each user, in the order of `users`, summed over stretches and visits."""

    users: Ints
    """sorted codes"""
    residual: Floats
    variance: Floats
    within: Floats
    """part of variance² that stretches have alone, where nothing is random"""
    replies: Floats
    served: Floats
    telling: Floats
    """replies in stretches that have served and unserved ones"""

    def differ(self, error: float) -> bool:
        """Whether users differ: at most `error` of the runs say so by chance."""
        present = self.telling > 0
        few = self.telling.sum() < MIN_REPLIES_PER_USER * present.sum()
        needed = normal_quantile(1 - error)
        return self.excess() > (max(FEW_REPLIES_EXCESS, needed) if few else needed)

    def excess(self) -> float:
        """By how many standard errors the users differ more than chance explains."""
        mean = float(self.variance.sum())
        spread = 2 * float((self.variance**2 - self.within).sum())
        if mean <= 0 or spread <= 1e-9 * mean**2:
            return 0.0
        freedom = 2 * mean**2 / spread
        ratio = float((self.residual**2).sum()) / mean
        return float((np.cbrt(ratio) - (1 - 2 / (9 * freedom))) / np.sqrt(2 / (9 * freedom)))

    @property
    def score(self) -> Floats:
        """Residuals in standard errors: the lowest are worst off."""
        return np.asarray(self.residual / np.sqrt(np.maximum(self.variance, 1e-12)))


def user_residuals(visits: Sequence[Visit]) -> UserResiduals:
    """Sum each user's residuals over these visits."""
    users = np.unique(np.concatenate([visit.user for visit in visits])) if visits else np.zeros(0, dtype=np.int64)
    sums = np.zeros((6, len(users)))
    for visit in visits:
        present, figures = _of_visit(visit)
        sums[:, np.searchsorted(users, present)] += figures
    return UserResiduals(users, *sums)


def _of_visit(visit: Visit) -> tuple[Ints, Floats]:
    """Return the users of a visit, and a row for each figure of `UserResiduals` with a column for each of them."""
    order = in_order(visit)
    users, user = np.unique(visit.user[order], return_inverse=True)
    # One more than a third: else users who take fixed turns would only ever be compared with the same others.
    stretches = max(1, len(user) // max(MIN_STRETCH, len(users) // 3 + 1))
    cell = (np.arange(len(user)) * stretches) // max(1, len(user)) * len(users) + user
    mine, fine = (
        np.bincount(cell, values, stretches * len(users)).reshape(stretches, len(users))
        for values in (np.ones(len(user)), visit.served[order])
    )
    m = mine.sum(axis=1, keepdims=True)
    p = fine.sum(axis=1, keepdims=True) / np.maximum(m, 1)
    variance = mine * p * (1 - p) * (m - mine) / np.maximum(m - 1, 1)  # hypergeometric
    within = variance**2 * m / np.maximum(m - 1, 1)
    figures = (fine - mine * p, variance, within, mine, fine, mine * ((p > 0) & (p < 1)))
    return users, np.stack([one.sum(axis=0) for one in figures])


@dataclass(frozen=True)
class UserComparison:
    """Whether users differ."""

    residuals: UserResiduals
    differ: bool
    rest_alike: bool
    """whether those are alike who remain when as many of the worst are left out as need not be served"""


def compare_users(levels: Sequence[Level], criteria: Criteria, *, searching: bool) -> UserComparison:
    """Compare users over all levels, and at each, where they may differ although they don't on the whole."""
    visits = [visit for level in levels for visit in level.visits]
    if _asked_once(visits):
        return UserComparison(user_residuals([]), differ=False, rest_alike=True)
    residuals = user_residuals(visits)
    part = DIFFER_PART_IN_SEARCH if searching else DIFFER_PART
    differ = residuals.differ(part * criteria.error) or any(
        user_residuals(level.visits).differ(DIFFER_PART_AT_ONE_LEVEL * criteria.error) for level in levels
    )
    if not differ:
        return UserComparison(residuals, differ=False, rest_alike=True)
    rest = [without_worst(level, residuals, 1 - criteria.users_share) for level in levels]
    excess = user_residuals([visit for level in rest for visit in level.visits]).excess()
    return UserComparison(residuals, differ=True, rest_alike=excess < REST_ALIKE)


def _asked_once(visits: Sequence[Visit]) -> bool:
    """Tell whether all users sent one reply each, as in an open stream: nothing can tell whether they differ."""
    users = np.sort(np.concatenate([visit.user for visit in visits])) if visits else np.zeros(0)
    return bool((users[1:] != users[:-1]).all())


def no_group_suffers_up_to(levels: Sequence[Level], served_share: float, users_share: float) -> Bools:
    """Return the levels up to which no more users than need not be served got less than their share themselves.

    Users whom only a higher level makes differ, as a full KV cache does that preempts the youngest, say nothing of the
    levels below it.
    """
    visits: list[Visit] = []
    fine = []
    for level in levels:
        visits += level.visits
        found = user_residuals(visits)
        short = found.served < served_share * found.replies - 1e-9
        fine.append(found.excess() < REST_ALIKE and short.sum() <= (1 - users_share) * len(short) + 1e-9)
    return np.logical_and.accumulate(np.array(fine, dtype=np.bool_))


@dataclass(frozen=True)
class Mixture:
    """Two kinds of users."""

    users: Ints
    """sorted codes"""
    chance: Floats
    """of each user, to belong to the worse group"""
    worse_share: float
    others_share: float

    @property
    def worse(self) -> Bools:
        """Who probably belongs to the worse group."""
        return np.asarray(self.chance > 0.5)

    def worse_at_once(self, level: Level) -> int:
        """Return how many of the users who are there at once belong to the worse group.

            Σ n · w ÷ Σ n  over the visits,    w = Σ chance · min(1, people ÷ users)  over the users who sent replies

        n: replies of the visit. Visits may have had different users, and within one, users may have taken others'
        places. Rounded; at least 1, and fewer than the level's users.
        """
        replies, worse = [], []
        for visit in level.visits:
            here = self.chance[np.isin(self.users, visit.user)]
            replies.append(len(visit.user))
            worse.append(float(here.sum()) * min(1.0, level.people / max(1, len(here))))
        return int(np.clip(round(float(np.average(worse, weights=replies))), 1, max(1, level.people - 1)))


def split_users(residuals: UserResiduals) -> Mixture | None:
    """Fit a mixture of two binomial shares by expectation and maximisation; None where there is nothing to split."""
    served, replies = residuals.served, residuals.replies
    if len(replies) < 2 or served.sum() in (0, replies.sum()):
        return None
    share = served / replies
    low, high, weight = float(np.quantile(share, 0.1)) * 0.9, float(np.quantile(share, 0.9)), 0.25
    chance = np.zeros(len(share))
    for _ in range(EM_STEPS):
        low, high = (float(np.clip(p, 1e-4, 1 - 1e-4)) for p in (low, high))
        odds = served * np.log(low / high) + (replies - served) * np.log((1 - low) / (1 - high))
        chance = 1 / (1 + np.exp(-np.clip(odds + np.log(weight / (1 - weight)), -700, 700)))
        weight = float(np.clip(chance.mean(), 1e-6, 1 - 1e-6))
        low = float((chance * served).sum() / max(1e-9, float((chance * replies).sum())))
        high = float(((1 - chance) * served).sum() / max(1e-9, float(((1 - chance) * replies).sum())))
    mixture = Mixture(residuals.users, chance, low, high)
    return mixture if 0 < mixture.worse.sum() < len(chance) else None


def split_visits(visits: Sequence[Visit], residuals: UserResiduals) -> tuple[list[Visit], list[Visit]] | None:
    """Return the replies of the worse group, visit by visit, and those of the others; None without two groups."""
    mixture = split_users(residuals)
    if mixture is None:
        return None
    belongs = [np.isin(visit.user, residuals.users[mixture.worse]) for visit in visits]
    worse = [visit.select(mine) for visit, mine in zip(visits, belongs, strict=True)]
    return worse, [visit.select(~mine) for visit, mine in zip(visits, belongs, strict=True)]


def without_worst(level: Level, residuals: UserResiduals, exempt_share: float) -> Level:
    """Return the level without the replies of its worst-off users, as many as need not be served."""
    if not level.visits:
        return level
    present = np.unique(np.concatenate([visit.user for visit in level.visits]))
    score = residuals.score[np.searchsorted(residuals.users, present)]
    exempt = int(exempt_share * max(level.people, len(present)) + 1e-9)
    dropped = present[np.argsort(score, kind="stable")[:exempt]]
    kept = tuple(visit.select(~np.isin(visit.user, dropped)) for visit in level.visits)
    return level_of(level.users, kept)
