"""How a worker's monotonic clock lies to the master's: from pings, as in Cristian's algorithm.

A ping that left at t0 and whose answer was back at t1 was read by the worker between the two; so the worker's clock
minus the middle is the offset, wrong by at most half the round trip. The shortest round trip is kept. Processes of one
boot of one machine share CLOCK_MONOTONIC: their offset is exactly 0.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offset:
    """Worker's monotonic seconds minus the master's."""

    seconds: float
    error: float
    """seconds: the true offset is within ± this"""


SAME_CLOCK = Offset(0.0, 0.0)


def offset(t0: float, t1: float, worker: float) -> Offset:
    """From one ping: master's clock when it left and when its answer was back, and the worker's clock in between."""
    return Offset(worker - (t0 + t1) / 2, (t1 - t0) / 2)


def better(known: Offset | None, new: Offset) -> Offset:
    """The one with the smaller error."""
    return new if known is None or new.error < known.error else known
