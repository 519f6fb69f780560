"""What the server did for others: its counters against the requests that this run sent.

Everything is counted in this run's favour, so that no run on an idle server is accused. A reply counts as a whole for
each span in which the server may have counted it: when it was sent, while it streamed, or when it ended, whichever adds
up to most. Replies that did not finish count with the longest reply, since a server may go on after its client has hung
up; each choice of a reply counts as a request.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from probe_ext.measure.outcome import FINISHED
from probe_ext.verdict.evidence.columns import Bools, Floats, is_any, numbers
from probe_ext.verdict.evidence.evidence import Columns, Evidence
from probe_ext.verdict.evidence.manifest_view import Span, absences, mapping, number
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.server_series import Engine, Metrics, Series, alternating_urls
from probe_ext.verdict.values.others_share import OthersShare

SLACK_S = 1.0
"""Seconds by which a counter may follow what it counts, beyond the length of the request that read it."""
MIN_COVERED_SHARE = 0.5
"""Of a level, that the counters must span."""
MIN_REQUESTS, MIN_TOKENS = 3.0, 50.0
"""Fewer that are not this run's are ignored."""
EXTRA_TOKENS = 2.0
"""Tokens per reply that a server may count and not report: the end of the text, the first token of a prefill server."""
COUNTED_BY_SERVER = frozenset({"usage", "token_ids"})
"""Sources of a reply's tokens."""


@dataclass(frozen=True)
class OwnRequests:
    """This run's requests: arrays with one entry per reply, seconds and tokens."""

    sent: Floats
    first: Floats
    last: Floats
    end: Floats
    """the latest moment at which the server may have counted it"""
    tokens: Floats
    """most tokens that it may have generated"""
    prompt: Floats
    choices: float
    """most choices of a request"""
    counts_tokens: bool
    """whether the server's own count is known for any reply"""
    counts_prompts: bool
    """whether the length of any prompt is known"""

    @property
    def longest_seconds(self) -> float:
        """Longest time from sending to the end."""
        return float(np.max(self.end - self.sent, initial=0.0))

    def most(self, weight: Floats, start: float, end: float) -> float:
        """Return the most of `weight` that a server may have counted in a span."""
        as_sent = weight[(self.sent >= start) & (self.sent <= end)].sum()
        as_ended = weight[(self.end >= start) & (self.end <= end)].sum()
        return float(max(as_sent, as_ended, (weight * self._share_within(start, end)).sum()))

    def _share_within(self, start: float, end: float) -> Floats:
        """Return the part of each reply that streamed in a span."""
        overlap = np.minimum(self.last, end) - np.maximum(self.first, start)
        length = np.maximum(self.last - self.first, 1e-9)
        return np.clip(overlap / length, 0.0, 1.0)


@dataclass(frozen=True)
class SentReplies:
    """What is recorded of this run's requests: arrays with one entry per reply, NaN where unknown."""

    sent: Floats
    """or due, where it was never sent"""
    first: Floats
    last: Floats
    end: Floats
    finished: Bools
    """whether the server ended it normally"""
    tokens: Floats
    """as the server counted them"""
    prompt: Floats
    choices: float = 1.0


def own_requests(replies: SentReplies, longest_reply: float | None) -> OwnRequests:
    """Bound this run's work. `longest_reply`: tokens that a reply was limited to, None where that is not known."""
    out = np.where(replies.finished, replies.tokens, np.nan)
    longest_tokens = float(np.nanmax(out, initial=(longest_reply or 0.0) * replies.choices))
    longest_s = float(np.max((replies.end - replies.sent)[replies.finished], initial=0.0))
    longest_prompt = float(np.nanmax(replies.prompt, initial=0.0))
    return OwnRequests(
        sent=replies.sent,
        first=np.where(np.isnan(replies.first), replies.sent, replies.first),
        last=np.where(np.isnan(replies.last), replies.end, replies.last),
        end=np.where(replies.finished, replies.end, replies.end + longest_s),
        tokens=np.where(np.isnan(out), longest_tokens, out) + EXTRA_TOKENS * replies.choices,
        # Engines that compute each choice by itself count its prompt each time.
        prompt=np.where(np.isnan(replies.prompt), longest_prompt, replies.prompt) * replies.choices,
        choices=replies.choices,
        counts_tokens=bool((~np.isnan(out)).any()),
        counts_prompts=bool((replies.prompt > 0).any()),
    )


def sent_replies(replies: Columns) -> SentReplies:
    """Take what is needed from the columns of `ReplyRow`."""
    due, sent = numbers(replies, "due"), numbers(replies, "sent")
    by_server = is_any(replies, "tokens_from", COUNTED_BY_SERVER)
    return SentReplies(
        sent=np.where(np.isnan(sent), due, sent),
        first=numbers(replies, "first"),
        last=numbers(replies, "last"),
        end=numbers(replies, "end"),
        finished=is_any(replies, "outcome", FINISHED),
        tokens=np.where(by_server, numbers(replies, "tokens_out"), np.nan),
        prompt=numbers(replies, "tokens_in"),
        choices=max(1.0, float(np.nanmax(numbers(replies, "choices"), initial=1.0))),
    )


def others_in(
    metrics: Metrics, own: OwnRequests, start: float, end: float, *, slack: float = SLACK_S, open_requests: int = 0
) -> OthersShare | None:
    """Return others' share of what the server did between two seconds of the run; None where no counter tells.

    `open_requests`: requests in flight of which nothing is known yet.
    """
    longest = float(np.max(own.tokens, initial=0.0)), float(np.max(own.prompt, initial=0.0))
    count = np.full(len(own.sent), own.choices)
    requests = _by_url(metrics, "requests_finished", own, count, (start, end, slack), open_requests * own.choices)
    tokens = prompts = None
    if own.counts_prompts:
        allowed = open_requests * longest[1]
        prompts = _by_url(metrics, "prompt_tokens", own, own.prompt, (start, end, slack), allowed)
    if own.counts_tokens:
        allowed = open_requests * longest[0]
        tokens = _together(metrics, "generation_tokens", own, own.tokens, (start, end, slack), allowed)
    found = OthersShare(_share(requests, MIN_REQUESTS), _share(tokens, MIN_TOKENS), _share(prompts, MIN_TOKENS))
    return None if found.requests is None and found.tokens is None else found


def others_by_level(evidence: Evidence, levels: Sequence[Level], metrics: Metrics) -> tuple[OthersShare | None, ...]:
    """Return others' share of each level; None where nothing can be concluded from the server's counters."""
    usable = counters_of_target(metrics, evidence.manifest)
    if not usable:
        return (None,) * len(levels)
    own = own_requests(sent_replies(evidence.replies), _longest_reply(evidence.manifest))
    slack = SLACK_S + float(np.nanmax(numbers(evidence.server, "width"), initial=0.0)) + _clock_error(evidence.manifest)
    away = absences(evidence.manifest)
    return tuple(
        None if _unseen(level, away, slack) else others_in(usable, own, level.t_start, level.t_end, slack=slack)
        for level in levels
    )


def _longest_reply(manifest: Mapping[str, object]) -> float | None:
    of_workload = number(mapping(manifest.get("workload")), "longest_reply")
    return number(mapping(manifest.get("options")), "max_tokens") if of_workload is None else of_workload


def counters_of_target(metrics: Metrics, manifest: Mapping[str, object]) -> Metrics:
    """Return the counters of the server under load; none where they may be another server's.

    Where one of several metrics URLs is at the address under load, it alone counts; otherwise that address is taken for
    a load balancer in front of all of them.
    """
    counters = {name: metrics[name] for name in _COUNTERS if name in metrics}
    engines = {engine for series in counters.values() for engine in series}
    known = {url for url, _ in engines}
    if not known or (len(known) > 1 and manifest.get("prometheus")):  # which also scrapes servers of others
        return {}
    origin = _origin(mapping(manifest.get("target")).get("host"))
    chosen = {url for url in known if origin and _origin(url) == origin} or known
    if chosen & alternating_urls(metrics):
        return {}
    return {name: {e: s for e, s in series.items() if e[0] in chosen} for name, series in counters.items()}


_COUNTERS = ("requests_finished", "prompt_tokens", "generation_tokens")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _origin(url: object) -> tuple[str, int | None] | None:
    try:
        parts = urlsplit(str(url or ""))
        return (parts.hostname.lower(), parts.port or _DEFAULT_PORTS.get(parts.scheme)) if parts.hostname else None
    except ValueError:
        return None


def _clock_error(manifest: Mapping[str, object]) -> float:
    prometheus = mapping(manifest.get("prometheus"))
    return abs(number(prometheus, "clock_offset", 0.0)) + number(prometheus, "clock_error", 0.0)


def _unseen(level: Level, away: Iterable[Span], slack: float) -> bool:
    """Tell whether a worker out of contact may have sent requests that no row shows."""
    return any(start <= level.t_end + slack and (end is None or end >= level.t_start - slack) for start, end in away)


_Work = tuple[float, float]
"""Work that cannot have been for this run, and all work of the server."""


def _by_url(
    metrics: Metrics, counter: str, own: OwnRequests, weight: Floats, span: tuple[float, float, float], allowed: float
) -> _Work | None:
    """Compare each URL by itself: where prefill and decode have servers of their own, both count every request."""
    by_engine = metrics.get(counter, {})
    found = [
        _together({counter: {e: s for e, s in by_engine.items() if e[0] == url}}, counter, own, weight, span, allowed)
        for url in sorted({engine[0] for engine in by_engine})
    ]
    known = [work for work in found if work is not None]
    return max(known, key=lambda work: work[0], default=None)


def _together(
    metrics: Metrics, counter: str, own: OwnRequests, weight: Floats, span: tuple[float, float, float], allowed: float
) -> _Work | None:
    start, end, slack = span
    grown = _growth(metrics.get(counter, {}), start, end)
    if grown is None:
        return None
    served, first, last = grown
    return served - own.most(weight, first - slack, last + slack) - allowed, served


def _growth(by_engine: Mapping[Engine, Series], start: float, end: float) -> tuple[float, float, float] | None:
    """Return a counter's growth over all engines, and its first and last sample in a span.

    None if a counter was reset meanwhile, or was read in too little of the span.
    """
    grown, first, last = 0.0, end, start
    for series in by_engine.values():
        inside = np.flatnonzero((series.t >= start) & (series.t <= end))
        if len(inside) < 2 or series.t[inside[-1]] - series.t[inside[0]] < MIN_COVERED_SHARE * (end - start):
            return None
        values = series.value[inside]
        if (np.diff(values) < 0).any():
            return None
        grown += float(values[-1] - values[0])
        first, last = min(first, float(series.t[inside[0]])), max(last, float(series.t[inside[-1]]))
    return (grown, first, last) if by_engine else None


def _share(work: _Work | None, smallest: float) -> float | None:
    if work is None or work[1] <= 0:
        return None
    extra, served = work
    return min(1.0, extra / served) if extra >= smallest else 0.0
