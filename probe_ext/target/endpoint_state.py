"""What the poller remembers of one metrics URL: failures, restarts, alternating servers."""

from dataclasses import dataclass, field
from typing import Any

from probe_ext.measure.findings import recorded_finding
from probe_ext.target.catalogue import Reading
from probe_ext.target.quantities import QUANTITIES

LOST_AFTER = 3
"""consecutive failures; busy servers miss single polls"""

_PROCESS_START_TOLERANCE_S = 1.0
_MAX_RESTARTS = 4
"""more restarts mean several servers behind one URL"""
_MAX_FAILED_SHARE = 0.02
_MAX_LISTED_RESTARTS = 5
MAX_ENGINES = 1024
"""of one URL in one run; each costs a row per quantity and poll"""


@dataclass
class EndpointHistory:
    """The history of one URL; changed by its own loop only."""

    url: str
    """without credentials"""
    kind: str | None = None
    answered: int = 0
    failed: int = 0
    consecutive_failures: int = 0
    first_failure: tuple[float, str] | None = None
    """time and reason"""
    last_reason: str | None = None
    request_started_at: float | None = None
    """start of the request in progress"""
    restarts: list[float] = field(default_factory=list)
    alternates: bool = False
    """whether responses come from more than one server"""
    _last: dict[tuple[str, str], float] = field(default_factory=dict)
    _engines: set[str] = field(default_factory=set)

    def add_failure(self, t: float, reason: str) -> None:
        """Record a failed poll."""
        self.failed += 1
        self.consecutive_failures += 1
        self.last_reason = reason
        self.first_failure = self.first_failure or (t, reason)

    def objection(self, reading: Reading) -> str | None:
        """Return why a reading cannot be used, None if it can."""
        engines = self._engines | {figure.engine for figure in reading.figures}
        if len(engines) > MAX_ENGINES:
            return f"more than {MAX_ENGINES:,} engines"
        self._engines = engines
        return None

    def add_reading(self, t: float, reading: Reading) -> None:
        """Record a successful poll."""
        self.answered += 1
        self.consecutive_failures = 0
        self.kind = reading.kind
        now = {(f.engine, f.quantity): f.value for f in reading.figures}
        if self._restarted(now):
            self.restarts.append(t)
        self._last.update(now)

    def _restarted(self, now: dict[tuple[str, str], float]) -> bool:
        """Return whether the counters were reset since the last reading."""
        changes = [(key, self._last[key], value) for key, value in now.items() if key in self._last]
        for (_, quantity), before, value in changes:
            if quantity == "process_start" and abs(value - before) > _PROCESS_START_TOLERANCE_S:
                self.alternates |= value < before
                return True
        return any(
            quantity in QUANTITIES and QUANTITIES[quantity].kind == "counter" and value < before
            for (_, quantity), before, value in changes
        )

    def findings(self, now: float, hang_after: float) -> list[dict[str, Any]]:
        """Return warnings in the format of `capacity.json`'s findings."""
        texts = [text for text in (self._availability(now, hang_after), self._resets()) if text]
        return [recorded_finding("server_metrics", f"{self.url}: {why}", advice) for why, advice in texts]

    def _availability(self, now: float, hang_after: float) -> tuple[str, str] | None:
        hangs = self.request_started_at is not None and now - self.request_started_at > hang_after
        reason = "the response does not end" if hangs else self.last_reason
        polls = self.answered + self.failed
        if not self.answered and (self.failed or hangs):
            return f"no metrics: {reason}", _ADVICE_NO_METRICS
        if hangs or self.consecutive_failures >= LOST_AFTER:
            return f"metrics stopped: {reason}", _ADVICE_MISSING_POLLS
        if self.failed > _MAX_FAILED_SHARE * polls and self.first_failure:
            at, first_reason = self.first_failure
            return f"{self.failed} of {polls} polls failed, first at {at:.0f} s: {first_reason}", _ADVICE_MISSING_POLLS
        return None

    def _resets(self) -> tuple[str, str] | None:
        if not self.restarts:
            return None
        if self.alternates or len(self.restarts) > max(_MAX_RESTARTS, self.answered // _MAX_RESTARTS):
            return "responses alternate between different servers", _ADVICE_ALTERNATING
        times = ", ".join(f"{t:.0f} s" for t in self.restarts[:_MAX_LISTED_RESTARTS])
        return f"the server's counters were reset at {times}", _ADVICE_RESTARTED


_ADVICE_NO_METRICS = "Findings that need server metrics are left out. Enable the server's metrics or set --metrics-url."
_ADVICE_MISSING_POLLS = "Server metrics are missing for these times and are not interpolated."
_ADVICE_ALTERNATING = "Set --metrics-url to each replica's own metrics URL instead of the load balancer's."
_ADVICE_RESTARTED = "The server restarted during the run; see its log for the reason."
