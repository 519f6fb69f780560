"""Bars as plain values that the page writes as SVG: what came when, and how lengths are distributed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from probe_ext.tap.statistics.activity import Activity
from probe_ext.tap.statistics.totals import Lengths
from probe_ext.verdict.phrasing.formats import count, percent, span

WIDTH, HEIGHT = 1000, 100
"""units of a picture, which is stretched to fit"""
_BINS_PER_DOUBLING = 2


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar in units of the picture."""

    x: str
    y: str
    width: str
    height: str
    title: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture with the words that say the same."""

    name: str
    description: str
    bars: Sequence[Bar]
    left: str
    """at the left end of the axis"""
    right: str


def timeline(activity: Activity) -> Chart:
    """Return the mean number of requests in flight in each span, marked where a request failed."""
    spans, width = activity.spans, activity.width
    means = [each.busy / width for each in spans]
    most = max(means, default=0.0) or 1.0
    bars = [
        _bar(n, len(spans), mean / most, f"{span(n * width)}: {mean:.3g} in flight, {each.arrived} arrived"
             + (f", {each.failed} failed" if each.failed else ""), failed=each.failed > 0)
        for n, (mean, each) in enumerate(zip(means, spans, strict=True))
        if mean > 0
    ]  # fmt: skip
    peak = max((each.peak for each in spans), default=0)
    failed = sum(each.failed > 0 for each in spans)
    description = (
        f"Mean of each {span(width)}; the highest is {max(means, default=0.0):.3g}, most at one moment {peak}."
    )
    if failed:
        description += f" Requests failed in {failed} of {len(spans)} spans."
    return Chart("Requests in flight", description, bars, "0 s", span(len(spans) * width))


def histogram(name: str, lengths: Lengths) -> Chart:
    """Return the distribution of lengths, in bins that each are √2 times as wide as the one before."""
    sketch, bins = lengths.sketch, dict[int, int]()
    for value, number in sketch.bins():
        key = math.floor(math.log2(max(value, 1.0)) * _BINS_PER_DOUBLING)
        bins[key] = bins.get(key, 0) + number
    low, high = min(bins), max(bins)
    most, edges = max(bins.values()), [2 ** (key / _BINS_PER_DOUBLING) for key in range(low, high + 2)]
    bars = [
        _bar(key - low, high - low + 1, number / most,
             f"{count(edges[key - low])} to {count(edges[key - low + 1])}: {percent(number / sketch.count)}")
        for key, number in sorted(bins.items())
    ]  # fmt: skip
    shares = (("Half have", "p50"), ("95 % have", "p95"))
    known = [(share, figure) for share, key in shares if (figure := lengths.percentile(key)) is not None]
    description = "".join(f"{share} at most {count(figure)}. " for share, figure in known)
    description += f"The longest has {count(sketch.maximum)}."
    return Chart(name, description, bars, count(edges[0]), count(edges[-1]))


def _bar(index: int, number: int, height: float, title: str, *, failed: bool = False) -> Bar:
    slot = WIDTH / number
    tall = max(1.0, HEIGHT * height)
    return Bar(
        f"{index * slot + 0.1 * slot:.2f}", f"{HEIGHT - tall:.2f}", f"{0.8 * slot:.2f}", f"{tall:.2f}", title, failed
    )
