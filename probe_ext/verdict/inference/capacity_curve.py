"""Between levels: curves of the served share over users, and where they may cross the limit.

The log odds of a served reply fall by a line in N, or in log N, through the limit at the crossing x:

    logit p(N) = logit(limit) + b · (s(x) − s(N)),   s(N) = N or log N,   b ≥ 0

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

SCALES: tuple[Callable[[Floats], Floats], ...] = (np.asarray, np.log)
CROSSINGS, SLOPES = 300, 50
MIN_LEVELS = 3
USEFUL_SHARE = 0.5
FIT_LEVEL = 0.80


@dataclass(frozen=True)
class Crossing:
    """Where the served share crosses the limit, in users."""

    point: float | None
    """None where it lies beyond the levels"""
    low: float
    high: float
    """infinite where crossings beyond the highest level are not excluded"""


@dataclass(frozen=True)
class _Curve:
    """The best slope on one scale, by crossing."""

    scale: Callable[[Floats], Floats]
    deviance: Floats
    slope: Floats


def fit_crossing(
    users: Floats, counts: EffectiveCounts, fit: Floats, limit: float, critical: float, nu: float
) -> Crossing | None:
    """Fit both curves to the levels that tell of the crossing; None where too few do or no curve fits them."""
    # Levels of share 0.5 and more, and the first below.
    used = (np.cumsum(fit < USEFUL_SHARE) <= 1) & (counts.of > 0)
    if used.sum() < MIN_LEVELS:
        return None
    x = np.geomspace(0.5 * float(users[0]), 1.5 * float(users[-1]), CROSSINGS)
    curves = [_fit(scale, x, users[used], counts.good[used], counts.of[used], limit) for scale in SCALES]
    freedom = float(used.sum() - MIN_LEVELS + 1)
    curves = [one for one in curves if one.deviance.min() <= freedom * f_quantile(FIT_LEVEL, freedom, nu)]
    if not curves:
        return None
    excess = np.min([one.deviance - one.deviance.min() for one in curves], axis=0)
    accepted = np.flatnonzero(excess <= critical**2)
    low, high = (_edge(x, excess, int(accepted[end]), step, critical**2) for end, step in ((0, -1), (-1, 1)))
    return Crossing(_point(x, curves, limit, users), low, high)


def _fit(scale: Callable[[Floats], Floats], x: Floats, users: Floats, good: Floats, of: Floats, limit: float) -> _Curve:
    shift = scale(x)[:, None] - scale(users)
    slopes = np.append(0.0, np.geomspace(0.05, 200.0, SLOPES)) / max(1e-9, float(np.ptp(scale(users))))
    best = log_likelihood(good / of, good, of).sum()
    deviance = np.array([
        2 * (best - log_likelihood(_share(limit, slope * shift), good, of).sum(axis=1)) for slope in slopes
    ])  # fmt: skip
    return _Curve(scale, deviance.min(axis=0), slopes[np.argmin(deviance, axis=0)])


def _share(limit: float, log_odds_above: Floats) -> Floats:
    return np.asarray(limit / (limit + (1 - limit) * np.exp(-np.clip(log_odds_above, -500, 500))))


def _edge(x: Floats, excess: Floats, last: int, step: int, allowed: float) -> float:
    """Where beyond the last accepted crossing the excess passes what is allowed; infinite at the upper end."""
    beyond = last + step
    if not 0 <= beyond < len(x):
        return float(x[0]) if step < 0 else np.inf
    return float(np.interp(allowed, [excess[last], excess[beyond]], [x[last], x[beyond]]))


def _point(x: Floats, curves: list[_Curve], limit: float, users: Floats) -> float | None:
    """Median of the likelihood, averaged over curves, among the crossings between the levels.

    Where the levels tell little, the likelihood is skewed and its maximum lies far out; the median is nearly unbiased.
    """
    best = float(np.mean([x[int(np.argmin(one.deviance))] for one in curves]))
    if not users[0] <= best <= users[-1]:
        return None
    inside = (x >= users[0]) & (x <= users[-1])
    running = np.cumsum(np.sum([np.exp(-one.deviance / 2) for one in curves], axis=0) * np.gradient(x) * inside)
    median = float(np.interp(0.5 * running[-1], running, x))
    return float(np.mean([_between_whole_users(median, x, one, limit) for one in curves]))


def _between_whole_users(crossing: float, x: Floats, curve: _Curve, limit: float) -> float:
    """The crossing of the straight line between the curve's shares at the whole numbers of users around it.

    There is no server with half a user: what lies between is a line by definition.
    """
    slope = float(np.interp(crossing, x, curve.slope))
    whole = np.array([np.floor(crossing), np.floor(crossing) + 1])
    before, after = _share(limit, slope * (curve.scale(np.array(crossing)) - curve.scale(np.maximum(whole, 0.5))))
    return crossing if before - after < 1e-9 else float(whole[0] + np.clip((before - limit) / (before - after), 0, 1))


def monotone_crossing(users: Floats, fit: Floats, limit: float) -> float | None:
    """Where straight lines between the levels of the monotone fit cross; None beyond the levels."""
    above = int((fit >= limit).sum())
    if above in (0, len(fit)):
        return None
    return float(np.interp(-limit, -fit[above - 1 : above + 1], users[above - 1 : above + 1]))
