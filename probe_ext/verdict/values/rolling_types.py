"""A run seen through a rolling window, as a dashboard shows it."""

from dataclasses import dataclass

from probe_ext.verdict.values.json_types import Amount, Count, Fraction


@dataclass(frozen=True)
class RollingFigures:
    """Figures of the requests that ended in the window before one moment. Null: none of them tells."""

    t: Amount
    """end of the window, seconds of the run"""
    requests: Count
    """ended in it, or given up unsent"""
    complete_per_s: Amount
    """complete replies per second"""
    failed_share: Fraction | None
    """failed requests ÷ requests; those that the run's end broke off, and the load generator's own faults, aside"""
    unsent: Count
    """arrivals of an open stream that found no free connection in time; they count as failed"""
    ttft_p50: Amount | None
    ttft_p95: Amount | None
    answer_p50: Amount | None
    """seconds from when a request was due to the end of its complete reply"""
    answer_p95: Amount | None


@dataclass(frozen=True)
class WindowedOutage:
    """A stretch in which every request failed, and what it did to the window. Seconds of the run."""

    since: Amount
    """end of the last complete reply before it, or of the first failed request"""
    until: Amount | None
    """end of the first complete reply after it; null if none came"""
    failed: Count
    """requests that failed meanwhile"""
    even_share: Fraction
    """outage ÷ window: the failed share that requests arriving evenly would have shown at most"""
    worst_share: Fraction | None
    """highest failed share of a window that has part of the outage; null where no window was full by then"""
    clean_at: Amount | None
    """when the last of its failed requests left the window; null while it lasts"""


@dataclass(frozen=True)
class Rolling:
    """The run in rolling windows, from the first full one on."""

    seconds: Amount
    """length of the window"""
    step: Amount
    """seconds between two moments"""
    moments: tuple[RollingFigures, ...]
    outages: tuple[WindowedOutage, ...]
