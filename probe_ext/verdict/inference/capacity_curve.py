"""Between levels: curves of the served share over users, and where they may cross the limit.

Three families, each with the crossing x as a parameter and a slope that is not negative:

    log odds falling in N,   log odds falling in log N,   unserved share 1 − exp(−exp(·)) rising in N

A curve that the levels contradict is dropped (deviance over its scale against F: P. McCullagh, J. A. Nelder, Generalized
Linear Models, 1989, ch. 4). The interval is the hull of the crossings that the likelihood ratio does not reject under
any that remains, with the gap in which the monotone fit crosses.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.inference.level_proofs import EffectiveCounts
from probe_ext.verdict.inference.quantiles import f_quantile
from probe_ext.verdict.values.columns import Bools, Floats

CROSSINGS, SLOPES = 240, 60
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
    Family(lambda users: users, _logit, _expit),
    Family(np.log, _logit, _expit),
    Family(lambda users: users, _minus_log_log, _exp_exp),
)


@dataclass(frozen=True)
class Crossing:
    """Where the served share crosses the limit, in users."""

    best: float
    low: float
    high: float
    """infinite where no crossing up to the highest level and beyond is excluded"""


def fit_crossing(users: Floats, counts: EffectiveCounts, fit: Floats, limit: float, t: tuple[float, float]) -> Crossing | None:
    """Fit the families to the levels that tell of the crossing; None where too few do or none fits.

    `t`: the critical value and its degrees of freedom.
    """
    used = _useful(fit) & (counts.of > 0)
    if used.sum() < MIN_LEVELS:
        return None
    x = np.geomspace(max(0.3, 0.5 * float(users[0])), 1.5 * float(users[-1]), CROSSINGS)
    good, of, at = counts.good[used], counts.of[used], users[used]
    allowed = f_quantile(FIT_LEVEL, float(used.sum() - 2), t[1])
    best, low, high = [], [], []
    for family in FAMILIES:
        deviance = _deviance(family, x, at, good, of, limit)
        least = float(deviance.min())
        if least / (used.sum() - 2) > allowed:
            continue
        accepted = x[deviance <= least + t[0] ** 2]
        best.append(float(x[int(np.argmin(deviance))]))
        low.append(float(accepted[0]))
        high.append(float(accepted[-1]))
    if not best:
        return None
    return Crossing(float(np.mean(best)), min(low), max(high) if max(high) < x[-2] else np.inf)


def _useful(fit: Floats) -> Bools:
    """Levels of share 0.5 and more, and the first below."""
    useful = fit >= USEFUL_SHARE
    below = np.flatnonzero(~useful)
    if len(below):
        useful[below[0]] = True
    return np.asarray(useful)


def _deviance(family: Family, x: Floats, users: Floats, good: Floats, of: Floats, limit: float) -> Floats:
    """Deviance of the best slope at each crossing."""
    scale = family.scale(users)
    spread = float(scale[-1] - scale[0])
    slopes = np.concatenate([[0.0], np.geomspace(0.05, 200.0, SLOPES)]) / max(spread, 1e-9)
    shift = family.scale(x)[:, None] - scale[None, :]
    least = np.full(len(x), np.inf)
    saturated = _log_likelihood(good / of, good, of)
    for slope in slopes:
        share = family.inverse(family.link(limit) + slope * shift)
        least = np.minimum(least, 2 * (saturated - _log_likelihood(share, good, of)).sum(axis=1))
    return least


def _log_likelihood(share: Floats, good: Floats, of: Floats) -> Floats:
    p = np.clip(share, 1e-9, 1 - 1e-9)
    return np.asarray(good * np.log(p) + (of - good) * np.log(1 - p))


def monotone_crossing(users: Floats, fit: Floats, limit: float) -> float | None:
    """Where straight lines between the levels of the monotone fit cross; None beyond the levels."""
    above = np.flatnonzero(fit >= limit)
    if len(above) in (0, len(fit)):
        return None
    i = int(above[-1])
    low, high = float(users[i]), float(users[i + 1])
    return low + (high - low) * float((fit[i] - limit) / (fit[i] - fit[i + 1]))
