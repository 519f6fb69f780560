"""What is known of a response while it arrives, whichever way its socket is read."""

import gevent.event


class StreamState:
    """Times and end of one response, and how its greenlet sleeps until something needs attention."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self.overdue: list[float] = []
        self.bytes_at: float | None = None
        """arrival of the latest bytes"""
        self.ended_at: float | None = None
        """when the end of the connection was seen"""
        self.ended = False
        """whether nothing more will come"""
        self.failure: Exception | None = None
        self._wakeup = gevent.event.Event()

    @property
    def last_at(self) -> float | None:
        """Arrival of the latest bytes, or when the end of the connection was seen."""
        times = [at for at in (self.bytes_at, self.ended_at) if at is not None]
        return max(times) if times else None

    def wait(self, seconds: float) -> None:
        """Sleep until something needs attention or the time has passed."""
        self._wakeup.wait(max(0.0, seconds))
        self._wakeup.clear()

    def wake(self) -> None:
        """Wake the waiting greenlet."""
        self._wakeup.set()
