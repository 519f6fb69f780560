"""What numpy lacks: quantiles of Student's t and of F, limits of a share, likelihood ratios of a share."""

import math
from statistics import NormalDist

import numpy as np

from probe_ext.verdict.evidence.columns import Floats

_TINY, _NEARLY_NONE = 1e-12, 1e-9
CONTRADICTION_ERROR = 0.005
"""of what must not happen by chance anywhere in a run"""


def normal_quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


def student_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t, to 0.02 from 3 degrees of freedom up.

    Cornish–Fisher expansion: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z, n = normal_quantile(probability), freedom
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / n**power for power, term in enumerate(terms))


def f_quantile(probability: float, above: float, below: float) -> float:
    """Quantile of F with `above` and `below` degrees of freedom.

    The cube root of F is nearly normal: E. Paulson, Annals of Mathematical Statistics 13 (1942) 233–235. Infinite where
    `below` is too small for that.
    """
    z, a, b = normal_quantile(probability), 2 / (9 * above), 2 / (9 * below)
    spread = math.sqrt(max(0.0, (1 - a) ** 2 * b + (1 - b) ** 2 * a - a * b * z * z))
    room = (1 - b) ** 2 - b * z * z
    return max(0.0, ((1 - a) * (1 - b) + z * spread) / room) ** 3 if room > 0 else math.inf


def divergence(share: Floats | float, limit: Floats | float) -> Floats:
    """Kullback–Leibler divergence of one Bernoulli share from another, in nats a reply."""
    p, q = np.clip(share, _TINY, 1 - _TINY), np.clip(limit, _TINY, 1 - _TINY)
    return np.asarray(np.maximum(0.0, p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))


def replies_to_prove(share: Floats | float, limit: float, standard_errors: float) -> Floats:
    """Independent replies of this share that prove on which side of `limit` it lies; infinite at the limit."""
    distance = divergence(share, limit)
    return np.asarray(np.where(distance > 0, standard_errors**2 / (2 * np.maximum(distance, _TINY)), np.inf))


def log_likelihood(share: Floats, good: Floats, of: Floats) -> Floats:
    """Log likelihood of `good` successes out of `of` at this share."""
    p = np.clip(share, _NEARLY_NONE, 1 - _NEARLY_NONE)
    return np.asarray(good * np.log(p) + (of - good) * np.log(1 - p))


def signed_root(good: Floats, of: Floats, limit: float, margin: Floats | float) -> Floats:
    """Signed root of the likelihood ratio of good/of against `limit`, positive above it; 0 without replies.

    `margin` is half a reply in the same units: the continuity correction, which draws the count towards the limit.
    """
    expected = limit * of
    drawn = np.where(good > expected, np.maximum(expected, good - margin), np.minimum(expected, good + margin))
    share = np.where(of > 0, drawn / np.maximum(of, _TINY), limit)
    return np.asarray(np.sign(share - limit) * np.sqrt(2 * of * divergence(share, limit)))


def score_limits(good: Floats, of: Floats, t: float) -> tuple[Floats, Floats]:
    """Lower and upper limit of a share (E. B. Wilson, JASA 22 (1927) 209–212)."""
    n = np.maximum(of, _TINY)
    share = np.clip(good / n, 0.0, 1.0)
    centre = (share + t * t / (2 * n)) / (1 + t * t / n)
    half = t * np.sqrt(share * (1 - share) / n + t * t / (4 * n * n)) / (1 + t * t / n)
    return np.maximum(0.0, centre - half), np.minimum(1.0, centre + half)
