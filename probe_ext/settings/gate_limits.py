"""Read `--fail-over`: upper limits that a run must be proven to keep, such as `ttft_p95=0.8,longest_gap_p95=2s@16`."""

import re
from dataclasses import dataclass
from typing import Literal

from probe_ext.settings import readers
from probe_ext.settings.durations import seconds

Figure = Literal["ttft", "tpot", "longest_gap", "broken"]
GATE_FIGURES: dict[str, tuple[Figure, float]] = {
    "ttft_p50": ("ttft", 0.50),
    "ttft_p95": ("ttft", 0.95),
    "ttft_p99": ("ttft", 0.99),
    "tpot_p50": ("tpot", 0.50),
    "tpot_p95": ("tpot", 0.95),
    "longest_gap_p95": ("longest_gap", 0.95),
    "longest_gap_p99": ("longest_gap", 0.99),
    "broken_share": ("broken", 0.0),
}
"""name: figure of each reply, and the share of replies that must keep the limit; of `broken_share`, by the limit"""
_LIMIT = re.compile(r"(?P<name>[a-z0-9_]+)=(?P<limit>[^@]+)(?:@(?P<users>[0-9]+))?")
MAX_SHARE = 0.999


@dataclass(frozen=True)
class GateLimit:
    """One limit."""

    name: str
    limit: float
    """seconds, or a share of the replies"""
    users: int | None
    """None: where the gate looks without being told"""

    @property
    def figure(self) -> Figure:
        """What is measured of each reply."""
        return GATE_FIGURES[self.name][0]

    @property
    def keeping_share(self) -> float:
        """Which share of the replies must keep the limit."""
        share = GATE_FIGURES[self.name][1]
        return 1 - self.limit if self.figure == "broken" else share


def gate_limits(text: str) -> tuple[GateLimit, ...]:
    """Read limits separated by commas. ValueError names the invalid part."""
    return tuple(_limit(part.strip()) for part in text.split(",") if part.strip())


def limits_text(text: str) -> str | None:
    """Check the text of `--fail-over` and return it; None if empty. ValueError names the invalid part."""
    return text.strip() if gate_limits(text) else None


def _limit(text: str) -> GateLimit:
    found = _LIMIT.fullmatch(text)
    if not found:
        raise ValueError(f"{text}: must be FIGURE=LIMIT or FIGURE=LIMIT@USERS, e.g. ttft_p95=0.8 or ttft_p95=800ms@16")
    name, limit, users = found["name"], found["limit"].strip(), found["users"]
    if name not in GATE_FIGURES:
        raise ValueError(f"{name}: must be one of {', '.join(GATE_FIGURES)}")
    try:
        value = readers.share(limit) if GATE_FIGURES[name][0] == "broken" else seconds(limit)
        number = None if users is None else readers.user_count(users)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
    if value <= 0 or (GATE_FIGURES[name][0] == "broken" and not 1 - MAX_SHARE <= value < 1):
        raise ValueError(f"{text}: must be greater than 0" + (" and below 100%" if name == "broken_share" else ""))
    return GateLimit(name, value, number)
