"""What the poller remembers of one metrics URL: whether it answers, since when not, and when it began anew. Pure."""

from dataclasses import dataclass, field
from typing import Any

from probe_ext.target.catalogue import Reading
from probe_ext.target.quantities import QUANTITIES

LOST_AFTER = 3
"""failures in a row: a busy server misses one second now and then"""

_JUMP = 1.0
_MANY = 4
_RARE = 0.02


@dataclass
class Watch:
    """One URL's memory; changed by its own loop only."""

    url: str
    """as it may be written down"""
    kind: str | None = None
    answered: int = 0
    failed: int = 0
    in_a_row: int = 0
    """failures since the last answer"""
    first_failure: tuple[float, str] | None = None
    """when, and why"""
    last_why: str | None = None
    asked_at: float | None = None
    """when the call under way began"""
    restarts: list[float] = field(default_factory=list)
    alternates: bool = False
    """the answers come from more than one server"""
    _last: dict[tuple[str, str], float] = field(default_factory=dict)

    def failure(self, t: float, why: str) -> None:
        """Remember that there was no figure at `t`."""
        self.failed += 1
        self.in_a_row += 1
        self.last_why = why
        self.first_failure = self.first_failure or (t, why)

    def reading(self, t: float, reading: Reading) -> None:
        """Remember what was read at `t`."""
        self.answered += 1
        self.in_a_row = 0
        self.kind = reading.kind
        now = {(f.engine, f.quantity): f.value for f in reading.figures}
        if self._restarted(now):
            self.restarts.append(t)
        self._last.update(now)

    def _restarted(self, now: dict[tuple[str, str], float]) -> bool:
        """Whether the counters must have begun anew."""
        changed = [(key, self._last[key], value) for key, value in now.items() if key in self._last]
        for (_, quantity), before, value in changed:
            if quantity == "process_start" and abs(value - before) > _JUMP:
                self.alternates |= value < before
                return True
        return any(
            QUANTITIES[quantity].kind == "counter" and value < before for (_, quantity), before, value in changed
        )

    def findings(self, now: float, patience: float) -> list[dict[str, Any]]:
        """What a reader of the run must know of this URL, in the shape of `capacity.json`'s findings: all warn."""
        found = [finding for finding in (self._silence(now, patience), self._anew()) if finding]
        return [{"check": "server_metrics", "state": "fail", "invalidates": False, **f} for f in found]

    def _silence(self, now: float, patience: float) -> dict[str, str] | None:
        hangs = self.asked_at is not None and now - self.asked_at > patience
        why = "an answer that does not end" if hangs else self.last_why
        polls = self.answered + self.failed
        if not self.answered and (self.failed or hangs):
            return {"why": f"{self.url}: no metrics: {why}", "advice": _ADVICE_NONE}
        if hangs or self.in_a_row >= LOST_AFTER:
            return {"why": f"{self.url}: metrics stopped: {why}", "advice": _ADVICE_LOST}
        if self.failed > _RARE * polls and self.first_failure:
            at, first = self.first_failure
            return {"why": f"{self.url}: {self.failed} of {polls} polls failed, first at {at:.0f} s: {first}",
                    "advice": _ADVICE_LOST}  # fmt: skip
        return None

    def _anew(self) -> dict[str, str] | None:
        if not self.restarts:
            return None
        if self.alternates or len(self.restarts) > max(_MANY, self.answered // _MANY):
            return {"why": f"{self.url}: the answers come from different servers in turn", "advice": _ADVICE_SPREAD}
        times = ", ".join(f"{t:.0f} s" for t in self.restarts[:5])
        return {"why": f"{self.url}: the server's counters began anew at {times}", "advice": _ADVICE_ANEW}


_ADVICE_NONE = "Claims that need the server's own figures are left out. Switch its metrics on, or give their address."
_ADVICE_LOST = "Seconds without an answer are missing from the server's figures; nothing is made up for them."
_ADVICE_SPREAD = "Give each replica's own metrics address instead of the balancer's."
_ADVICE_ANEW = "The server was restarted during the run; its log says why."
