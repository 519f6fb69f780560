"""Between levels: curves of the served share over users, and where they may cross the limit.

Three families, each with the crossing x as a parameter and a slope that is not negative:

    log odds falling in N,   log odds falling in log N,   unserved share 1 − exp(−exp(·)) rising in N

A curve that the levels contradict is dropped: its deviance is held against F (P. McCullagh, J. A. Nelder, Generalized
Linear Models, 1989, ch. 4). The interval is the hull of the crossings that the likelihood ratio does not reject under
any curve that remains.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Floats
from probe_ext.verdict.inference.level_proofs import EffectiveCounts
from probe_ext.verdict.inference.quantiles import f_quantile, log_likelihood

CROSSINGS, SLOPES = 300, 50
MIN_LEVELS = 3
USEFUL_SHARE = 0.5
FIT_LEVEL = 0.80


@dataclass(frozen=True)
class Family:
    """One family of curves: served share = inverse(link(limit) + slope · (scale(x) − scale(N)))."""

    scale: Callable[[Floats], Floats]
    link: Callable[[float], float]
    inverse: Callable[[Floats], Floats]


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def _expit(value: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(value, -500, 500))))


def _minus_log_log(share: float) -> float:
    return float(-np.log(-np.log(share)))


def _exp_exp(value: Floats) -> Floats:
    return np.asarray(np.exp(-np.exp(-np.clip(value, -500, 500))))


FAMILIES = (
    Family(np.asarray, _logit, _expit),
    Family(np.log, _logit, _expit),
    Family(np.asarray, _minus_log_log, _exp_exp),
)


@dataclass(frozen=True)
class Crossing:
    """Where the served share crosses the limit, in users."""

    point: float | None
    """None where it lies beyond the levels"""
    low: float
    high: float
    """infinite where crossings beyond the highest level are not excluded"""


@dataclass(frozen=True)
class _Fit:
    """The best slope of one family, by crossing."""

    family: Family
    deviance: Floats
    slope: Floats


def fit_crossing(
    users: Floats, counts: EffectiveCounts, fit: Floats, limit: float, critical: float, nu: float
) -> Crossing | None:
    """Fit the families to the levels that tell of the crossing; None where too few do or no family fits them."""
    # Levels of share 0.5 and more, and the first below.
    used = (np.cumsum(fit < USEFUL_SHARE) <= 1) & (counts.of > 0)
    if used.sum() < MIN_LEVELS:
        return None
    x = np.geomspace(0.5 * float(users[0]), 1.5 * float(users[-1]), CROSSINGS)
    fits = [_fit(family, x, users[used], counts.good[used], counts.of[used], limit) for family in FAMILIES]
    freedom = float(used.sum() - MIN_LEVELS + 1)
    fits = [one for one in fits if one.deviance.min() <= freedom * f_quantile(FIT_LEVEL, freedom, nu)]
    if not fits:
        return None
    excess = np.min([one.deviance - one.deviance.min() for one in fits], axis=0)
    accepted = np.flatnonzero(excess <= critical**2)
    low, high = (_edge(x, excess, int(accepted[end]), step, critical**2) for end, step in ((0, -1), (-1, 1)))
    return Crossing(_point(x, fits, limit, users), low, high)


def _fit(family: Family, x: Floats, users: Floats, good: Floats, of: Floats, limit: float) -> _Fit:
    scale = family.scale(users)
    slopes = np.append(0.0, np.geomspace(0.05, 200.0, SLOPES)) / max(1e-9, float(scale[-1] - scale[0]))
    shift = family.scale(x)[:, None] - scale
    best = log_likelihood(good / of, good, of).sum()
    deviance = np.array(
        [
            2 * (best - log_likelihood(family.inverse(family.link(limit) + slope * shift), good, of).sum(axis=1))
            for slope in slopes
        ]
    )
    return _Fit(family, deviance.min(axis=0), slopes[np.argmin(deviance, axis=0)])


def _edge(x: Floats, excess: Floats, last: int, step: int, allowed: float) -> float:
    """Where beyond the last accepted crossing the excess passes what is allowed; infinite at the upper end."""
    beyond = last + step
    if not 0 <= beyond < len(x):
        return float(x[0]) if step < 0 else np.inf
    return float(np.interp(allowed, [excess[last], excess[beyond]], [x[last], x[beyond]]))


def _point(x: Floats, fits: list[_Fit], limit: float, users: Floats) -> float | None:
    """Median of the likelihood, averaged over families, among the crossings between the levels.

    Where the levels tell little, the likelihood is skewed and its maximum lies far out; the median is nearly unbiased.
    """
    best = float(np.mean([x[int(np.argmin(one.deviance))] for one in fits]))
    if not users[0] <= best <= users[-1]:
        return None
    inside = (x >= users[0]) & (x <= users[-1])
    running = np.cumsum(np.sum([np.exp(-one.deviance / 2) for one in fits], axis=0) * np.gradient(x) * inside)
    median = float(np.interp(0.5 * running[-1], running, x))
    return float(np.mean([_between_whole_users(median, x, one, limit) for one in fits]))


def _between_whole_users(crossing: float, x: Floats, fit: _Fit, limit: float) -> float:
    """The crossing of the straight line between the curve's shares at the whole numbers of users around it.

    There is no server with half a user: what lies between is a line by definition.
    """
    slope = float(np.interp(crossing, x, fit.slope))
    whole = np.array([np.floor(crossing), np.floor(crossing) + 1])
    shift = fit.family.scale(np.array([crossing])) - fit.family.scale(np.maximum(whole, 0.5))
    before, after = fit.family.inverse(fit.family.link(limit) + slope * shift)
    return crossing if before - after < 1e-9 else float(whole[0] + np.clip((before - limit) / (before - after), 0, 1))


def monotone_crossing(users: Floats, fit: Floats, limit: float) -> float | None:
    """Where straight lines between the levels of the monotone fit cross; None beyond the levels."""
    above = int((fit >= limit).sum())
    if above in (0, len(fit)):
        return None
    return float(np.interp(-limit, -fit[above - 1 : above + 1], users[above - 1 : above + 1]))
