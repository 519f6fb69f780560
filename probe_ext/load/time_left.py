"""How much longer a search will take: one forecast for the live view and for the report.

In the searches of the study on stated servers, with t the time that a search has taken and w the width of its interval,
it took another t · ln(w ÷ wanted) at the median; half of them took between half and twice that. Both were fitted to
these searches, and not checked on others. A forecast that followed each look would jump about within that range. So it
counts down, and is made anew only where the interval contradicts it by more than a factor of two, or the time is up.
"""

import math

REVISED_FROM = 2.0
"""times as long, or as short, as the forecast: about half of the searches lie within it"""
LEAST_SHARE = 0.5
"""of the forecast: nine of ten searches take at least that long, while nothing is proven on one side of the boundary"""
SHORTEST_S = 10.0
"""seconds: a forecast of less would be over before the next look"""


def seconds_to_narrow(elapsed: float, width: float, wanted: float) -> float:
    """Return about how many seconds it takes until an interval is as narrow as wanted."""
    return max(SHORTEST_S, elapsed * math.log(width / wanted)) if width > wanted else SHORTEST_S


class TimeLeft:
    """A forecast that counts down. Seconds."""

    def __init__(self) -> None:
        self._until: float | None = None

    def update(self, now: float, seconds: float | None) -> None:
        """Take what the interval says now; None where it says nothing."""
        if seconds is None:
            self._until = None
        elif self._until is None or not self._agrees(self._until - now, seconds):
            self._until = now + seconds

    def seconds(self, now: float) -> float | None:
        """Return the seconds left, None while they are unknown."""
        return None if self._until is None else max(0.0, self._until - now)

    @staticmethod
    def _agrees(left: float, seconds: float) -> bool:
        return left > 0 and seconds / REVISED_FROM <= left <= seconds * REVISED_FROM
