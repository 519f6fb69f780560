"""What the poller remembers of one metrics URL: failures, restarts, alternating servers."""

from dataclasses import dataclass, field
from typing import Any

from probe_ext.measure.findings import recorded_finding
from probe_ext.target.metrics.catalogue import Reading
from probe_ext.target.metrics.quantities import QUANTITIES

LOST_AFTER = 3
"""consecutive failures; busy servers miss single polls"""

_PROCESS_START_TOLERANCE_S = 1.0
_MAX_RESTARTS = 4
"""more restarts mean several servers behind one URL"""
_MAX_FAILED_SHARE = 0.02
_MAX_LISTED_RESTARTS = 5
MAX_ENGINES = 1024
"""of one URL in one run; each costs a row per quantity and poll"""
_MAX_LISTED_MODELS = 5
_SLOW_SHARE = 0.5  # of the period that an answer takes
_MIN_SECONDS = 0.1


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
    period: float = 1.0
    """seconds between polls, as asked"""
    total_width: float = 0.0
    """seconds that all answers took together"""
    impossible: dict[str, tuple[int, float]] = field(default_factory=dict)
    """by quantity: how often, and the first value"""
    too_fast: dict[str, tuple[float, float]] = field(default_factory=dict)
    """by counter: the first growth that no engine reaches, and its seconds"""
    other_models: tuple[str, ...] = ()
    _last: dict[tuple[str, str], float] = field(default_factory=dict)
    _engines: set[str] = field(default_factory=set)
    _last_t: float | None = None

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

    def add_reading(self, t: float, reading: Reading, width: float = 0.0) -> None:
        """Record a successful poll, which took `width` seconds."""
        self.total_width += width
        self.other_models = reading.other_models
        for figure in reading.impossible:
            count, first = self.impossible.get(figure.quantity, (0, figure.value))
            self.impossible[figure.quantity] = count + 1, first
        self.answered += 1
        self.consecutive_failures = 0
        self.kind = reading.kind
        now = {(f.engine, f.quantity): f.value for f in reading.figures}
        if self._restarted(now):
            self.restarts.append(t)
        else:
            self._note_rates(now, width if self._last_t is None else t - self._last_t)
        self._last.update(now)
        self._last_t = t

    def _note_rates(self, now: dict[tuple[str, str], float], seconds: float) -> None:
        """Note counters that grew faster than any engine works."""
        for key, value in now.items():
            quantity, rise = QUANTITIES.get(key[1]), value - self._last.get(key, value)
            limit = quantity.max_rate if quantity else None  # a GPU's page has quantities of its own
            if limit is not None and rise > limit * max(seconds, _MIN_SECONDS):
                self.too_fast.setdefault(key[1], (rise, seconds))

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
        told = (
            self._availability(now, hang_after),
            self._resets(),
            self._slowness(),
            self._impossible(),
            self._too_fast(),
            self._models(),
        )
        texts = [text for text in told if text]
        return [recorded_finding("server_metrics", f"{self.url}: {why}", advice) for why, advice in texts]

    def _slowness(self) -> tuple[str, str] | None:
        if not self.answered or self.total_width / self.answered <= _SLOW_SHARE * self.period:
            return None
        mean = self.total_width / self.answered
        why = f"each answer takes {mean:.1f} s on average, so the page is read about every {2 * mean:.0f} s"
        return why, "Peaks between are not seen, and the server counted at some moment within each answer."

    def _impossible(self) -> tuple[str, str] | None:
        if not self.impossible:
            return None
        shown = [f"{name} {value:g} ({count} times)" for name, (count, value) in sorted(self.impossible.items())]
        return f"impossible values are left out: {', '.join(shown)}", _ADVICE_IMPOSSIBLE

    def _too_fast(self) -> tuple[str, str] | None:
        if not self.too_fast:
            return None
        shown = [f"{name} grew by {rise:,.0f} in {seconds:.1f} s" for name, (rise, seconds) in self.too_fast.items()]
        return f"counters contradict the clock: {', '.join(sorted(shown))}", _ADVICE_TOO_FAST

    def _models(self) -> tuple[str, str] | None:
        if not self.other_models:
            return None
        names = ", ".join(self.other_models[:_MAX_LISTED_MODELS])
        return f"series of other models are left out: {names}", _ADVICE_MODELS

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
_ADVICE_IMPOSSIBLE = "The server reports these wrongly: look for an update, and do not rely on them elsewhere either."
_ADVICE_TOO_FAST = "No engine works that fast: several servers answer, or its counters are wrong. They are not used."
_ADVICE_MODELS = "Only series of the model under load count. If none has its name, it may be an alias: pass --model."
