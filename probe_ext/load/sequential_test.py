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
from statistics import fmean

ALPHA = 0.025
"""how often a level may be called proven to hold, or to fail, though it does not"""
GLANCE = 0.4
"""the same for a level that only points the way: what it says wrongly is found out when the boundary is proven"""
HELD_STAKE = 0.9
"""part of the largest bet that cannot go broke: a level that holds shows hardly anything but served replies"""
FAILED_STAKES = (0.1, 0.2, 0.4, 0.8)
"""from cautious to bold: how many replies a failing level leaves unserved, and how evenly, nobody knows beforehand"""
_LEAST_MISSES = 0.01
_APART = 0.10
"""the two bounds lie at least so far apart: nearer, a run would be too short to tell them apart"""
_RARE = 1e-3
_MOST = 1e30
"""beyond this a ratio is only a number too large to keep; cutting it makes the test no bolder"""


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
    def held_worst(self) -> float:
        """The level is proven to hold against this share: twice the misses that a served user may have, or _APART."""
        return max(self.served - max(_APART, 1 - self.served), self.served / 2)

    @property
    def misses(self) -> float:
        """The level is proven to fail against so many replies that are not served."""
        return max(_LEAST_MISSES, 1 - self.served)


Ratios = tuple[float, ...]
"""one likelihood ratio for each of FAILED_STAKES"""
_START: Ratios = (1.0,) * len(FAILED_STAKES)


@dataclass(frozen=True)
class Odds:
    """The likelihood ratios so far: each starts at 1."""

    held: float = 1.0
    slow: Ratios = _START
    """for failing by replies that are not served"""
    broken: Ratios = _START
    """for failing by replies that are broken"""

    @property
    def failed(self) -> float:
        """For failing either way: the mean of such ratios is one."""
        return fmean((*self.slow, *self.broken))

    def after(self, blocks: Iterable[Block], bounds: Bounds) -> "Odds":
        """The ratios after so many more blocks."""
        held, slow, broken = self.held, self.slow, self.broken
        rare = max(bounds.broken, _RARE)
        for block in blocks:
            held = _times(held, HELD_STAKE, block.served / bounds.held_worst)
            slow = _bets(slow, (1 - block.served) / bounds.misses)
            broken = _bets(broken, block.broken / rare)
        return Odds(held, slow, broken)


def _bets(ratios: Ratios, part: float) -> Ratios:
    return tuple(_times(ratio, stake, part) for ratio, stake in zip(ratios, FAILED_STAKES, strict=True))


def _times(ratio: float, stake: float, part: float) -> float:
    """`part`: the block's share in parts of the claim's bound. The factor's expectation is 1 there, and less below."""
    return min(ratio * (1 + stake * (part - 1)), _MOST)
