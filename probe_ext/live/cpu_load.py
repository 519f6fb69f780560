"""How busy a process is, from what it says of the CPU time that it has used."""

from collections import deque

SPAN = 10.0
"""seconds over which a share is taken, at most"""
_LEAST = 2.0


class CpuTrack:
    """Told again and again; a process that has nothing new to say is taken to be as busy as not known."""

    def __init__(self) -> None:
        self._told: dict[str, deque[tuple[float, float]]] = {}

    def add(self, process: str, now: float, cpu_seconds: float | None) -> None:
        """What a process says it has used up to now."""
        if cpu_seconds is None:
            return
        told = self._told.setdefault(process, deque())
        if told and cpu_seconds < told[-1][1]:
            told.clear()  # it has started anew
        if not told or cpu_seconds != told[-1][1]:
            told.append((now, cpu_seconds))
        while len(told) > 1 and now - told[0][0] > SPAN:
            told.popleft()

    def share(self, process: str, now: float) -> float | None:
        """Of one core; None where too little is known."""
        told = self._told.get(process, deque())
        if not told or now - told[-1][0] > SPAN or told[-1][0] - told[0][0] < _LEAST:
            return None
        return (told[-1][1] - told[0][1]) / (told[-1][0] - told[0][0])
