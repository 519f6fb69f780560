"""Is a level decided yet? A sequential test on blocks of time, with stated error rates at whatever moment it stops.

A level's time is cut into blocks about as long as a reply, so that most of a block's replies met the server anew; all
users of a block share one queue, so a block counts once, however many replies it holds. Each block gives the share of
its replies that were served, and the share that was broken. Two tests are kept, each a likelihood ratio that grows
while the blocks speak for its claim:

- *held*, against "twice as many replies are not served as a served user may have" (with `chat`: 20 %);
- *failed*, against "at least as many are served as a served user needs, and no more broken than that user may have".

A ratio that has reached 1/α proves its claim: if in truth the opposite holds, in that each block's expected share lies
on the wrong side whatever came before, this ever happens with probability at most α (J. Ville, 1939), so one may look
after every block and stop when one likes. For blocks of one reply it is Wald's test (A. Wald, "Sequential tests of
statistical hypotheses", Annals of Mathematical Statistics 16, 1945); for shares, a bet on a bounded mean (I.
Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024). Between the two
bounds neither claim is false in this sense, and a level there may take long to decide.
"""

from collections.abc import Iterable
from dataclasses import dataclass

ALPHA = 0.025
"""how often a level may be called proven to hold, or to fail, though it does not"""
GLANCE = 0.25
"""the same for a level that only points the way: what it says wrongly is found out when the boundary is proven"""
_LEAST_MISSES = 0.01
_APART = 0.10
"""the two bounds lie at least so far apart: nearer, a run would be too short to tell them apart"""
_CLEAR_BROKEN = 0.10
"""the broken share that the test for failing looks out for"""


@dataclass(frozen=True)
class Block:
    """A piece of a level: shares of the replies that ended in it. Seconds of the run."""

    end: float
    served: float
    broken: float


@dataclass(frozen=True)
class Bounds:
    """What a served user's replies are like, from the profile: fractions of them."""

    served: float
    """at least"""
    broken: float
    """at most"""

    @property
    def _misses(self) -> float:
        return max(_LEAST_MISSES, 1 - self.served)

    @property
    def held_worst(self) -> float:
        """The level is proven to hold against this share: twice the misses that a served user may have, or _APART."""
        return max(self.served - max(_APART, self._misses), self.served / 2)

    @property
    def held_likely(self) -> float:
        """The share that the test for holding looks out for."""
        return 1 - 0.3 * self._misses

    @property
    def failed_likely(self) -> float:
        """The share that the test for failing looks out for."""
        return max(self.served - 3 * self._misses, self.served / 2)


@dataclass(frozen=True)
class Odds:
    """The likelihood ratios so far: each starts at 1."""

    held: float = 1.0
    slow: float = 1.0
    """for failing by replies that are not served"""
    broken: float = 1.0
    """for failing by replies that are broken"""

    @property
    def failed(self) -> float:
        """For failing either way: the mean of two such ratios is one."""
        return (self.slow + self.broken) / 2

    def after(self, blocks: Iterable[Block], bounds: Bounds) -> "Odds":
        """The ratios after so many more blocks."""
        held, slow, broken = self.held, self.slow, self.broken
        allowed = min(1 - _LEAST_MISSES, bounds.served)
        rare = max(bounds.broken, 1e-3)
        for block in blocks:
            held *= _factor(block.served, bounds.held_worst, bounds.held_likely)
            slow *= _factor(1 - block.served, 1 - allowed, 1 - bounds.failed_likely)
            broken *= _factor(block.broken, rare, max(_CLEAR_BROKEN, 2 * rare))
        return Odds(min(held, _MOST), min(slow, _MOST), min(broken, _MOST))


_MOST = 1e30
"""beyond this a ratio is only a number too large to keep; cutting it makes the test no bolder"""


def _factor(share: float, null: float, likely: float) -> float:
    """How much more one block fits a mean of `likely` than one of `null` or less; its expectation is 1 there."""
    bet = (likely - null) / (null * (1 - null))
    return 1 + bet * (share - null)
