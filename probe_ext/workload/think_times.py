"""The pauses of a user of no kind between a reply and the next request: exponential, as those of people who type."""

from probe_ext.workload.distribution_forms import Constant, Distribution, Exponential
from probe_ext.workload.draws import uniform_share


class ThinkTimes:
    """Pauses of one user, of this mean in seconds; each depends only on the seed, the user and how many came before.

    What is left of an exponential pause at any moment has the distribution of a whole one. So a user may join with one.
    """

    def __init__(self, mean: float, seed: int, user: int) -> None:
        self._pause: Distribution = Exponential(mean) if mean else Constant(0)
        self._key = (seed, user)
        self._drawn = 0

    def next(self) -> float:
        """Return the next pause in seconds."""
        self._drawn += 1
        return self._pause.quantile(uniform_share("think time", *self._key, self._drawn - 1))
