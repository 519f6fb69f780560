"""How busy a process is, from the CPU time that it reports."""

from collections import deque

MAX_SPAN_S = 10.0  # over which a share is taken
_MIN_SPAN_S = 2.0


class CpuTrack:
    """Takes each process's CPU time again and again."""

    def __init__(self) -> None:
        self._reports: dict[str, deque[tuple[float, float]]] = {}

    def add(self, process: str, now: float, cpu_seconds: float | None) -> None:
        """Add a process's CPU time up to now."""
        if cpu_seconds is None:
            return
        reports = self._reports.setdefault(process, deque())
        if reports and cpu_seconds < reports[-1][1]:
            reports.clear()  # the process was restarted
        if not reports or cpu_seconds != reports[-1][1]:
            reports.append((now, cpu_seconds))
        while len(reports) > 1 and now - reports[0][0] > MAX_SPAN_S:
            reports.popleft()

    def share(self, process: str, now: float) -> float | None:
        """Return the share of one core that a process uses; None if too little, or nothing new, is known."""
        reports = self._reports.get(process, deque())
        if not reports or now - reports[-1][0] > MAX_SPAN_S or reports[-1][0] - reports[0][0] < _MIN_SPAN_S:
            return None
        return (reports[-1][1] - reports[0][1]) / (reports[-1][0] - reports[0][0])
