"""What people would turn out to be in the long run: the chance in a user's few replies taken out.

Of a user of whose replies 95 % are served, nine of ten are not always; so in a short level of 20 such users more than
one mostly seems strained, and the level to fail, though with time it would hold. For the interval, each user's share is
therefore drawn towards that of all, as far as users differ by no more than chance explains: p + B (pᵤ − p), with
B = τ² ÷ (τ² + p (1 − p) ÷ nᵤ), nᵤ the user's replies, and τ² the variance between users beyond chance (by the method of
moments: R. DerSimonian, N. Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 7, 1986; drawing
towards the mean: B. Efron, C. Morris, Journal of the American Statistical Association 70, 1975). Users who are ill
served all along differ by more than chance, and stay so.
"""

import numpy as np

from probe_ext.settings.slo import Users
from probe_ext.verdict.grading.user_grades import BROKEN_USER, EPSILON, SERVED, STRAINED_USER, Counts, Kinds
from probe_ext.verdict.values.columns import Floats, Ints


def classify_lasting(drawn: Counts, of_people: Ints, seen: Counts, rules: Users) -> Kinds:
    """How each user would feel, by replicate and user.

    `drawn` are the replies of the replicates, with each user as often as `of_people` says; `seen` are the level's own,
    which tell how far its users differ.
    """
    good = _drawn_together(_served(drawn), drawn.judged, of_people, _own(_served(seen), seen.judged))
    bad = _drawn_together(drawn.broken, drawn.judged, of_people, _own(seen.broken, seen.judged))
    too_broken = bad > rules.broken_share + EPSILON
    served = good >= rules.served_share - EPSILON
    return np.select([too_broken, served], [BROKEN_USER, SERVED], STRAINED_USER).astype(np.int8)


def _served(counts: Counts) -> Ints:
    return counts.judged - counts.strained - counts.broken


def _own(hits: Ints, of: Ints) -> Floats:
    """B: how much of a user's distance from the mean is the user's own, and no chance."""
    all_of = float(of.sum())
    mean = hits.sum() / max(all_of, 1.0)
    chance, freedom = mean * (1 - mean), all_of - float((of**2).sum()) / max(all_of, 1.0)
    if chance <= 0 or freedom <= 0:
        return np.zeros(len(of))
    apart = of * (hits / np.maximum(of, 1) - mean) ** 2
    between = max(0.0, (float(apart.sum()) / chance - ((of > 0).sum() - 1)) / freedom)
    own: Floats = between / (between + 1 / np.maximum(of, 1))
    return own


def _drawn_together(hits: Ints, of: Ints, weights: Ints, own: Floats) -> Floats:
    """Shares by replicate and user, drawn towards the mean of each replicate."""
    mean = (hits * weights).sum(axis=-1, keepdims=True) / np.maximum((of * weights).sum(axis=-1, keepdims=True), 1)
    shares: Floats = mean + own * (np.where(of > 0, hits / np.maximum(of, 1), mean) - mean)
    return shares
