"""When is a step of a warm-up over? When TTFT stops falling, whatever its noise.

A step is warm once two rounds in a row were not clearly faster than the best round before them, and the last round is
not far above the best. *Clearly faster* means by more than a quarter and 50 ms: compilation costs seconds, noise does
not. A single slow round (somebody else's request, a pause) neither ends a step nor keeps it from ending for long.
"""

from collections.abc import Sequence

MIN_ROUNDS = 3
MAX_ROUNDS = 12
"""of one step; a server whose times still fall after these is not warm"""
_FALL = 0.75
"""of the best time before, below which a round is clearly faster"""
_NOISE_S = 0.05
_FAR_ABOVE = 2.0
"""times the best, above which the last round was disturbed"""


def is_settled(times: Sequence[float]) -> bool:
    """Whether the first-token times of a step's rounds, in seconds and in order, have stopped falling."""
    if len(times) < MIN_ROUNDS:
        return False
    if any(_clearly_faster(times[n], min(times[:n])) for n in (len(times) - 2, len(times) - 1)):
        return False
    return times[-1] <= _FAR_ABOVE * min(times) + _NOISE_S


def _clearly_faster(time: float, best: float) -> bool:
    return time < _FALL * best and best - time > _NOISE_S
