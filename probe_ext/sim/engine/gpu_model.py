"""The simulated card's clock, temperature and energy. Seconds on the engine's clock, watts, joules, °C, MHz.

While it computes, the card draws ``BUSY_W`` (times its clock over the full one), otherwise ``IDLE_W``: its energy at
time t is exactly ``IDLE_W * t + (BUSY_W - IDLE_W) * busy seconds`` as long as it is not throttled. Its temperature
follows its power with one time constant. A badly cooled card lowers its clock above ``SLOWDOWN_C``, and every step then
takes longer in proportion.
"""

import math
from collections import deque

IDLE_W, BUSY_W, LIMIT_W = 30.0, 160.0, 170.0
FULL_CLOCK_MHZ, IDLE_CLOCK_MHZ, MEMORY_CLOCK_MHZ = 1980.0, 210.0, 7501.0
AMBIENT_C, C_PER_W, HEAT_TIME_S = 32.0, 0.25, 15.0
SLOWDOWN_C, CLOCK_LOST_PER_C, MIN_CLOCK_SHARE = 83.0, 0.03, 0.5
WINDOW_S = 1.0


class Gpu:
    """One card. :meth:`work` is called for each step, in order of time."""

    def __init__(self, celsius_per_watt: float = C_PER_W) -> None:
        self._c_per_w = celsius_per_watt
        self._t = 0.0
        self._joules = 0.0
        self._last_power = IDLE_W
        self._recent: deque[tuple[float, float]] = deque()
        self.temperature = AMBIENT_C + IDLE_W * self._c_per_w

    @property
    def clock_share(self) -> float:
        """Clock over the full one while the card computes: below 1 when it is too hot."""
        return max(MIN_CLOCK_SHARE, 1.0 - CLOCK_LOST_PER_C * max(0.0, self.temperature - SLOWDOWN_C))

    def work(self, start: float, end: float) -> None:
        """Compute from ``start`` to ``end``; the card was idle since the last call."""
        self._spend(max(0.0, start - self._t), IDLE_W)
        self._spend(end - start, BUSY_W * self.clock_share)
        self._recent.append((start, end))
        while self._recent and self._recent[0][1] < end - 2 * WINDOW_S:
            self._recent.popleft()

    def _spend(self, seconds: float, watts: float) -> None:
        self._t += seconds
        self._joules += watts * seconds
        self._last_power = watts
        target = AMBIENT_C + watts * self._c_per_w
        self.temperature += (target - self.temperature) * -math.expm1(-seconds / HEAT_TIME_S)

    def joules(self, now: float) -> float:
        """Return the energy up to now; the current step may end later."""
        return self._joules + (now - self._t) * (IDLE_W if now >= self._t else self._last_power)

    def utilisation(self, now: float) -> float:
        """Return the share of the last second in which the card computed."""
        since = now - WINDOW_S
        busy = sum(max(0.0, min(end, now) - max(start, since)) for start, end in self._recent)
        return min(1.0, busy / WINDOW_S)

    def power(self, now: float) -> float:
        """Return the mean power of the last second."""
        return IDLE_W + (BUSY_W * self.clock_share - IDLE_W) * self.utilisation(now)

    def clock(self, now: float) -> float:
        """Return the clock in MHz."""
        return FULL_CLOCK_MHZ * self.clock_share if self.utilisation(now) else IDLE_CLOCK_MHZ
