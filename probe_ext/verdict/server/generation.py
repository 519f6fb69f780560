"""Did the engine generate tokens during a gap? Its own counter tells a parser that holds output back from a stall."""

from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Floats, is_any, numbers
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import servers
from probe_ext.verdict.server.server_series import STALE_S, Series, combine, read_metrics, usable_metrics

COUNTER = "generation_tokens"
COUNTS_EACH_STEP = frozenset({"vllm"})
"""Kinds of server whose counter rises with every step; others count a request's tokens when it finishes."""
MIN_SEEN_SHARE = 0.5
"""Of a gap, the part between samples of the counter."""
_SPANS_AT_ONCE = 1 << 18
MIN_COUNTED_SHARE = 0.9
"""Of the tokens that users received: with fewer, servers that are not watched answer as well."""


def with_generation(evidence: Evidence) -> dict[str, np.ndarray]:
    """Return the columns of replies, with `gap_generating`: see `generating_share`."""
    replies = dict(evidence.replies)
    start = numbers(replies, "gap_start")
    replies["gap_generating"] = generating_share(evidence, start, start + numbers(replies, "longest_gap"))
    return replies


def generating_share(evidence: Evidence, start: Floats, end: Floats) -> Floats:
    """Return the part of each span in which the engine's counter of generated tokens rose; NaN where it is not known.

    Other requests make the counter rise as well: a rise does not prove that this reply's tokens were generated, but
    where the counter stands still, none were.
    """
    unknown = np.broadcast_to(np.nan, (len(start),))
    kinds = {str(server.get("kind")) for server in servers(evidence.manifest)}
    engines = _counters(evidence) if kinds and kinds <= COUNTS_EACH_STEP else []
    if not engines:
        return unknown
    received = np.nansum(numbers(evidence.replies, "tokens_out"))
    if sum(float(series.rises().sum()) for series in engines) < MIN_COUNTED_SHARE * received:
        return unknown
    t, value = combine(engines)
    steps = np.diff(t)
    usable = steps <= STALE_S
    rose = usable & (np.diff(value) > 0)
    seen_until = np.concatenate([[0.0], np.cumsum(np.where(usable, steps, 0.0))])
    rose_until = np.concatenate([[0.0], np.cumsum(np.where(rose, steps, 0.0))])
    counter = _Counter(t, seen_until, rose_until)
    share = np.empty(len(start))
    for row in range(0, len(start), _SPANS_AT_ONCE):  # what lies in between takes ten times as much memory
        part = slice(row, row + _SPANS_AT_ONCE)
        share[part] = counter.rising_share(start[part], end[part])
    return share


@dataclass(frozen=True)
class _Counter:
    """A counter at its samples: seconds until then in which it was seen, and in which it rose."""

    t: Floats
    seen_until: Floats
    rose_until: Floats

    def rising_share(self, start: Floats, end: Floats) -> Floats:
        first = np.searchsorted(self.t, start, side="left")
        last = np.searchsorted(self.t, end, side="right") - 1
        inside = (last > first) & ~np.isnan(start) & ~np.isnan(end)
        first, last = np.where(inside, first, 0), np.where(inside, last, 0)
        seen = self.seen_until[last] - self.seen_until[first]
        rose = self.rose_until[last] - self.rose_until[first]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(inside & (seen >= MIN_SEEN_SHARE * (end - start)), rose / seen, np.nan)


def _counters(evidence: Evidence) -> list[Series]:
    rows = is_any(evidence.server, "quantity", {COUNTER})
    counters = {name: values[rows] for name, values in evidence.server.items()}
    return list(usable_metrics(read_metrics(counters)).get(COUNTER, {}).values())
