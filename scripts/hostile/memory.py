"""Whether a process's memory grows: a robust slope with its own confidence interval, and a bound on the growth.

A process that handles replies of up to 16 MiB has memory that jumps by as much and that the allocator gives back
late, so least squares over samples follows the jumps. Here, the samples of each minute become their median, the first
third of the run is left out (caches, buffers and arenas fill up), and the slope is Theil-Sen's: the median of the
slopes between all pairs of minutes. Its 95% interval comes from Kendall's statistic (Sen 1968), without an assumption
about how the noise is distributed. Neighbouring minutes depend on each other, so that the interval is rather too narrow
than too wide: the check errs towards failing.

Memory fails if either holds:

- the whole interval lies above 20 MiB per hour, the limit of `make soak`: a leak is shown. At that rate, a run of two
  days stays below 1 GiB.
- the settled part's last quarter lies more than 32 MiB above its first, that is, two replies of the largest size: too
  much growth, whatever the interval says. It keeps a wide interval from hiding a leak.

Below 20 settled minutes, an interval says nothing, and only the growth is judged.
"""

import math
from collections import defaultdict
from statistics import median

from scripts.swarm.soak import Sample

SETTLED_FROM = 1 / 3
MAX_SLOPE_MIB_PER_HOUR = 20.0
MAX_GROWTH_MIB = 32.0
MIN_MINUTES_FOR_SLOPE = 20
_Z_95 = 1.96

Points = list[tuple[float, float]]
"""(hours, MiB) in the order of time."""


def judge_memory(samples: list[Sample]) -> tuple[dict[str, dict[str, float | None]], list[str]]:
    """Return each process's figures in MiB and MiB per hour, and a sentence for each that grew."""
    figures: dict[str, dict[str, float | None]] = {}
    faults = []
    for name in sorted({sample[1] for sample in samples}):
        points = settled_minutes(samples, name)
        if len(points) < 4:
            continue
        quarter = len(points) // 4
        first, last = (median(mib for _, mib in part) for part in (points[:quarter], points[-quarter:]))
        figures[name] = {"minutes": len(points), "first": round(first, 2), "last": round(last, 2)}
        if last - first > MAX_GROWTH_MIB:
            faults.append(f"{name} grew by {last - first:.0f} MiB")
        slope, low, high = theil_sen(points) if len(points) >= MIN_MINUTES_FOR_SLOPE else (None, None, None)
        if slope is not None and low is not None and high is not None:
            figures[name] |= {"per_hour": round(slope, 2), "low": round(low, 2), "high": round(high, 2)}
            if low > MAX_SLOPE_MIB_PER_HOUR:
                faults.append(f"{name} grew by {slope:.0f} MiB/h (95%: {low:.0f} to {high:.0f})")
    return figures, faults


def settled_minutes(samples: list[Sample], name: str) -> Points:
    """Return the median of each minute of the settled part."""
    since = SETTLED_FROM * max(sample[0] for sample in samples)
    minutes: dict[int, list[float]] = defaultdict(list)
    for t, who, rss, _ in samples:
        if who == name and t >= since:
            minutes[int(t // 60)].append(rss)
    return [(minute / 60, median(values)) for minute, values in sorted(minutes.items())]


def theil_sen(points: Points) -> tuple[float, float, float]:
    """Return the median slope and its 95% interval, in MiB per hour. At least three points."""
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1 :])
    n, pairs = len(points), len(slopes)
    reach = _Z_95 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low, high = max(0, math.floor((pairs - reach) / 2)), min(pairs - 1, math.ceil((pairs + reach) / 2))
    return median(slopes), slopes[low], slopes[high]
