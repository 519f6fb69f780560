"""How much longer a search will take: one forecast for the live view and for the report.

With t the time that a search has taken and w the width of its interval, the forecast is another t · ln(w ÷ wanted). How
good it is was measured at every fifth second of 47 searches as `probe run` makes them, on the study's stated and
simulated servers with seeds from 90100, each search with the same weight. Truth ÷ forecast was, at its 10 % quantile,
median and 90 % quantile,

- while nothing was proven on one side of the boundary: 0.40, 1.3 and 5.4: only a lower limit of the time is known;
- once something was proven on both sides: 0.11, 0.55 and 1.9: it is seldom much longer, and often shorter.

LEAST_SHARE was taken from these searches, so it was not checked on others.

A forecast that followed each look would jump about. So it counts down, and is made anew only where the interval
contradicts it by more than a factor of two, or the time is up.
"""

import math

REVISED_FROM = 2.0
"""times as long, or as short, as the forecast: nearly half of the searches lie within it"""
LEAST_SHARE = 0.4
"""of the forecast, while nothing is proven on one side of the boundary: the 10 % quantile in the searches above"""
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
