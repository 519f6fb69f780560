"""Figures over a rolling window of probes, and how long an outage stays in it.

Probes arrive evenly: each starts on a fixed grid, so that a slow or a dead server is asked as often as a fast one. A
probe that overruns its slot stands for all slots that it took. So the error rate over a window is

    error rate = Σ (failed ÷ sent) × slots of the probe ÷ Σ slots of the probe, over the window's probes

and an outage of D seconds in a window of W seconds raises it to D ÷ W: five minutes down in fifteen are 33 %, until the
first failed probe is older than the window. With users who wait for their replies, arrivals are uneven: they send less
while a server is down, and the same outage shows as less (21 % was seen once).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.sketch import MIN_COUNTS


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe of one server. Seconds on one clock; of complete answers, `ttfts` and tokens."""

    started: float
    ended: float
    sent: int
    answered: int
    tokens: int | None
    """output tokens of complete answers; None where one is not counted"""
    ttfts: tuple[float, ...]
    error: str | None = None
    """the first failure's reason"""
    slots: int = 1
    """probing intervals that it took"""

    @property
    def down(self) -> bool:
        """Whether nothing was answered."""
        return self.answered == 0

    @property
    def seconds(self) -> float:
        """How long the probe took."""
        return self.ended - self.started


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch in which no probe was answered. Seconds on the probes' clock."""

    since: float
    """start of the first failed probe"""
    until: float | None
    """start of the first answered probe after it; None while it lasts"""
    leaves: float | None
    """when its last failed probe has left the window; None while it lasts"""


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """Figures over the window; None: not known."""

    probes: int
    requests: int
    error_rate: float | None
    rps: float | None
    """answered requests ÷ time spent in probes that were answered"""
    tokens_per_s: float | None
    """their output tokens ÷ the same time"""
    ttft_p50: float | None
    ttft_p95: float | None

    @property
    def score(self) -> float:
        """What servers are ranked by: tokens/s, less the share of failed requests."""
        return (self.tokens_per_s or 0.0) * (1 - (self.error_rate if self.error_rate is not None else 1.0))


class RollingWindow:
    """The probes of one server that ended in the last `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._probes: deque[ProbeResult] = deque()
        self.outages: list[Outage] = []
        """whose failures are still in the window"""

    def add(self, probe: ProbeResult) -> None:
        """Add the newest probe."""
        self._probes.append(probe)
        last = self.outages[-1] if self.outages else None
        if probe.down and (last is None or last.until is not None):
            self.outages.append(Outage(probe.started, None, None))
        elif last is not None and last.until is None and not probe.down:
            failed = [one.ended for one in self._probes if one.down]
            self.outages[-1] = Outage(last.since, probe.started, (failed or [probe.started])[-1] + self.seconds)
        self.expire(probe.ended)

    def expire(self, now: float) -> None:
        """Forget what is older than the window."""
        while self._probes and self._probes[0].ended <= now - self.seconds:
            self._probes.popleft()
        self.outages = [one for one in self.outages if one.leaves is None or one.leaves > now]

    @property
    def last(self) -> ProbeResult | None:
        """The newest probe."""
        return self._probes[-1] if self._probes else None

    def figures(self) -> WindowFigures:
        """Return the figures of the probes in the window."""
        good = [probe for probe in self._probes if probe.answered]
        slots = sum(probe.slots for probe in self._probes)
        failed = sum(probe.slots * (probe.sent - probe.answered) / probe.sent for probe in self._probes if probe.sent)
        seconds = sum(probe.seconds for probe in good)
        tokens = [probe.tokens for probe in good]
        known = [count for count in tokens if count is not None]
        return WindowFigures(
            probes=len(self._probes),
            requests=sum(probe.sent for probe in self._probes),
            error_rate=failed / slots if slots else None,
            rps=sum(probe.answered for probe in good) / seconds if seconds else None,
            tokens_per_s=sum(known) / seconds if seconds and len(known) == len(tokens) else None,
            ttft_p50=_percentile([t for probe in good for t in probe.ttfts], "p50"),
            ttft_p95=_percentile([t for probe in good for t in probe.ttfts], "p95"),
        )


def _percentile(values: Sequence[float], name: str) -> float | None:
    """Return a percentile by its name; None of fewer values than it needs: p95, of the answers of a single probe."""
    return float(np.percentile(np.array(values), int(name[1:]))) if len(values) >= MIN_COUNTS[name] else None
