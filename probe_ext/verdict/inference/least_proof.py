"""How long it takes at least to prove that a number of users is served: if every reply is."""

import itertools
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.inference.critical_values import CriticalValues
from probe_ext.verdict.inference.dispersion import ICC_PRIOR, LAG_PRIOR, PRIOR_FREEDOM, Pooled
from probe_ext.verdict.inference.quantiles import signed_root
from probe_ext.verdict.values.capacity_estimate import Criteria

MAX_CYCLES = 10_000
MAX_BLOCKS = 60


MANY_USERS = 1000
MOST_DEMANDING = 0.98
"""a served share up to here can be proven, whatever else"""


@dataclass(frozen=True)
class LeastProof:
    """The shortest proof that a level can have by itself."""

    replies: int
    seconds: float
    """of the measured part; settling is not included"""


def least_proof(users: int, reply_cycle_seconds: float, criteria: Criteria | None = None) -> LeastProof | None:
    """Return the shortest proof, in whole cycles of one reply a user; None where no reasonable time is enough.

    With nothing unserved a run says nothing of its dispersion, so the one assumed beforehand counts.
    """
    wanted = criteria or Criteria()
    prior = Pooled(ICC_PRIOR, LAG_PRIOR, PRIOR_FREEDOM, "prior")
    proof = CriticalValues.of(wanted.error, prior.nu, None).proof
    for cycles in itertools.takewhile(lambda n: n <= MAX_CYCLES, itertools.count(1)):
        replies = float(cycles * users)
        blocks = min(cycles, MAX_BLOCKS)
        worth = np.array([replies / prior.factor(replies / blocks, blocks)])
        if signed_root(worth, worth, wanted.served_share, 0.5 * worth / replies)[0] > proof:
            return LeastProof(cycles * users, cycles * reply_cycle_seconds)
    return None


def is_provable(criteria: Criteria) -> bool:
    """Whether a run of reasonable length could prove that many users are served, if every reply is."""
    return criteria.served_share <= MOST_DEMANDING or least_proof(MANY_USERS, 0.0, criteria) is not None
