"""Do replies stream, one token at a time or in bursts, and what makes the bursts?

The kernel stamps bytes on arrival. Events with the same stamp came together over the network: something between, or
the server, sent them together. Events with different stamps that we read together were held up here. What counts as
together, and which setting fixes it, is decided as in the report of a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from probe_ext.access.sender import Answered
from probe_ext.inspection.check_result import CheckResult, Figures, Status
from probe_ext.measure.safe_text import safe_text
from probe_ext.measure.table_rows import ONE_EVENT
from probe_ext.measure.timeline import TokenEvents, bursts
from probe_ext.verdict.checks.delivery import MAX_UNRESOLVED_SHARE
from probe_ext.verdict.checks.proxy_settings import (
    DOCUMENT_ADVICE,
    ONE_EVENT_ADVICE,
    SERVER_SETTINGS,
    known_proxies,
    proxy_advice,
)
from probe_ext.verdict.grading.held_back import MIN_STREAM_TOKENS
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import listed, things

_BURST_EVENTS = 2.0
"""events per arrival, on average, from which replies come in bursts"""
_FELT_BURST_S = 0.05
"""bursts that follow one another faster are invisible to people"""
_FELT_WAIT_S = 0.2
"""before replies whose events all come at once; a fast server sends short ones like that"""
_WHOLE_REPLY_EVENTS = 32
"""in one arrival, from which it is certain that replies are held back to their end"""
_LATE_READ_S = 0.005
_MIN_TOKENS_PER_EVENT = 1.5


@dataclass(frozen=True, slots=True)
class _Arrivals:
    """How the token events of replies arrived."""

    events: int
    arrivals: int
    shared: int
    """arrivals of several events"""
    tokens: int
    replies: int
    spacing: float | None
    """median seconds between arrivals"""
    wait: float
    """median seconds until the first"""
    late: float
    """median seconds from the kernel's receipt to our read"""
    stamped: bool


def streaming(samples: Sequence[Answered], *, true_counts: bool = True) -> CheckResult:
    """Judge replies that were asked for as streams, one after another; `true_counts`: whether usage can be believed."""
    answered = [sample for sample in samples if sample.ok]
    if not answered:
        return _unanswered(samples)
    if not any(sample.streamed for sample in answered):
        return _not_streamed(answered)
    seen = _arrivals([sample for sample in answered if sample.streamed])
    figures = {
        "events": seen.events,
        "arrivals": seen.arrivals,
        "tokens": seen.tokens,
        "seconds_between_arrivals": seen.spacing,
        "kernel_stamps": seen.stamped,
    }
    if seen.events < MIN_STREAM_TOKENS:
        short = f"Only {things(seen.events, 'token event')}: too few to tell."
        return CheckResult("streaming", Status.UNKNOWN, short, None, figures)
    return _bundled(seen, _named(answered[0]), figures) or _one_by_one(seen, figures, true_counts=true_counts)


def _bundled(seen: _Arrivals, named: Sequence[str], figures: Figures) -> CheckResult | None:
    """Return the finding if events arrived together; None if people would not notice."""
    if seen.arrivals == seen.replies and seen.wait >= _FELT_WAIT_S:
        return _at_once(seen, named, figures)
    per_arrival = seen.events / seen.arrivals
    if per_arrival >= _BURST_EVENTS and (seen.spacing or 0.0) >= _FELT_BURST_S:
        return _in_bursts(seen, per_arrival, named, figures)
    return None


def _one_by_one(seen: _Arrivals, figures: Figures, *, true_counts: bool) -> CheckResult:
    if true_counts and seen.tokens >= _MIN_TOKENS_PER_EVENT * seen.events:
        return _several_tokens(seen, figures)
    how = "by the kernel's timestamps" if seen.stamped else "by this program's reads"
    spacing = f", {formats.seconds(seen.spacing)} apart" if seen.spacing else ""
    evidence = f"{things(seen.events, 'token event')} came one by one{spacing} ({how})."
    if seen.shared > MAX_UNRESOLVED_SHARE * seen.arrivals:
        unknown = "first words and typing" if seen.arrivals == seen.replies else "gaps between tokens of one arrival"
        evidence = (
            f"{things(seen.events, 'token event')} came in {things(seen.arrivals, 'arrival')}{spacing} ({how}): people "
            f"do not notice that, but {unknown} are not known."
        )
    return CheckResult("streaming", Status.OK, evidence, None, figures)


def _unanswered(samples: Sequence[Answered]) -> CheckResult:
    if not samples:
        return CheckResult("streaming", Status.UNKNOWN, "No reply to judge.")
    why = next((sample.message for sample in samples if sample.message), samples[0].outcome)
    return CheckResult("streaming", Status.PROBLEM, f"Requests fail: {why}.", "Fix that first.")


def _arrivals(replies: Sequence[Answered]) -> _Arrivals:
    together = [list(bursts(TokenEvents(list(reply.at)))) for reply in replies if reply.at]
    sizes = [stop - start for spans in together for start, stop in spans]
    starts = [[reply.at[start] for start, _ in bursts(TokenEvents(list(reply.at)))] for reply in replies if reply.at]
    gaps = [later - earlier for times in starts for earlier, later in pairwise(times)]
    lags = [lag for reply in replies for lag in reply.lags]
    waits = [reply.ttft for reply in replies if reply.ttft is not None]
    return _Arrivals(
        replies=len(together),
        wait=median(waits) if waits else 0.0,
        events=sum(sizes),
        arrivals=len(sizes),
        shared=sum(size > 1 for size in sizes),
        tokens=sum(reply.tokens_out or len(reply.at) for reply in replies if reply.at),
        spacing=median(gaps) if gaps else None,
        late=median(lags) if lags else 0.0,
        stamped=all(reply.stamped for reply in replies),
    )


def _not_streamed(replies: Sequence[Answered]) -> CheckResult:
    first = replies[0]
    kind = safe_text(first.headers.get("content-type", "no content type"), length=60)
    one_event = first.delivery == ONE_EVENT
    how = "all text comes in one event" if one_event else f"the whole answer comes at once ({kind})"
    through = f"; replies name {first.via}" if first.via else ""
    evidence = f"Replies are not streamed: {how}{through}."
    advice = ONE_EVENT_ADVICE if one_event else DOCUMENT_ADVICE
    return CheckResult("streaming", Status.PROBLEM, evidence, advice, {"streamed": False})


def _at_once(seen: _Arrivals, named: Sequence[str], figures: Figures) -> CheckResult:
    each = seen.events / seen.replies
    status = Status.PROBLEM if each >= _WHOLE_REPLY_EVENTS else Status.WARN
    holder = listed(known_proxies(named)) or "the server, or something in front of it,"
    evidence = (
        f"All {formats.decimals(each)} token events of a reply came at once, {formats.seconds(seen.wait)} after the "
    )
    evidence += f"request: {holder} holds them back."
    return CheckResult("streaming", status, evidence, proxy_advice(named), figures)


def _in_bursts(seen: _Arrivals, per_arrival: float, named: Sequence[str], figures: Figures) -> CheckResult:
    burst = f"{things(seen.events, 'token event')} came in {things(seen.arrivals, 'burst')}, on average "
    burst += f"{formats.decimals(per_arrival)} together, {formats.seconds(seen.spacing)} apart"
    if not seen.stamped or seen.late > _LATE_READ_S:
        why = (
            f"this machine read them {formats.seconds(seen.late)} late"
            if seen.stamped
            else "the kernel does not timestamp them"
        )
        evidence = f"{burst}. What holds them back is unknown: {why}."
        return CheckResult("streaming", Status.WARN, evidence, "Repeat it from a less busy machine.", figures)
    proxies = known_proxies(named)
    who = f"{listed(proxies)} may hold" if proxies else "the server, or something in front of it, holds"
    evidence = (
        f"{burst}, by the kernel's timestamps: {who} bytes back. What that hides of gaps and typing is not judged."
    )
    return CheckResult("streaming", Status.WARN, evidence, proxy_advice(named), figures)


def _several_tokens(seen: _Arrivals, figures: Figures) -> CheckResult:
    share = seen.tokens / seen.events
    evidence = f"{formats.decimals(share)} tokens in each event: the server sends several at a time, so the gaps "
    evidence += "between them are unknown."
    advice = f"{SERVER_SETTINGS} Leave it if your users get text like this too."
    return CheckResult("streaming", Status.WARN, evidence, advice, figures)


def _named(reply: Answered) -> Sequence[str]:
    return reply.via.split(", ") if reply.via else ()
