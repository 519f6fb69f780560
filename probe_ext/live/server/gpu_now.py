"""The GPUs' current figures: power of all together, utilisation of the busiest."""

from collections.abc import Iterable

from probe_ext.measure.table_rows import GpuRow
from probe_ext.verdict.server.server_series import STALE_INTERVALS, STALE_S

_SHOWN = ("gpu_utilisation", "gpu_power", "gpu_temperature")


class GpuNow:
    """Takes every row, and keeps the newest value of each GPU."""

    def __init__(self, interval: float = 1.0) -> None:
        """`interval`: seconds between polls."""
        self._stale_after = max(STALE_S, STALE_INTERVALS * interval)
        self._newest: dict[str, dict[tuple[str, str], tuple[float, float]]] = {name: {} for name in _SHOWN}

    def add(self, rows: Iterable[GpuRow]) -> None:
        """Add the rows of a poll."""
        for row in rows:
            if row.quantity in self._newest:
                self._newest[row.quantity][row.url, row.gpu] = (row.t, row.value)

    def busiest(self, now: float) -> float | None:
        """Return the utilisation of the busiest GPU, 0 to 1."""
        return max(self._fresh("gpu_utilisation", now), default=None)

    def hottest(self, now: float) -> float | None:
        """Return the temperature of the hottest GPU in °C."""
        return max(self._fresh("gpu_temperature", now), default=None)

    def power(self, now: float) -> float | None:
        """Return the power of all GPUs in watts; None as soon as the newest value of one is too old."""
        fresh = self._fresh("gpu_power", now)
        return sum(fresh) if fresh and len(fresh) == len(self._newest["gpu_power"]) else None

    def _fresh(self, quantity: str, now: float) -> list[float]:
        return [value for t, value in self._newest[quantity].values() if now - t <= self._stale_after]
