"""Do replies stream, one token at a time or in lumps, and who makes the lumps?

The kernel stamps bytes on arrival. Events with the same stamp came together over the network: something between, or
the server, sent them together. Events with different stamps that we read together were held up here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import median

from probe_ext.access.sender import Answered
from probe_ext.inspection.check_result import CheckResult, Figures, Status
from probe_ext.measure.safe_text import safe_text
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things

_MIN_EVENTS = 8
_LUMP_EVENTS = 2.0
"""events per arrival, on average, from which replies come in lumps"""
_FELT_LUMP_S = 0.05
"""lumps that follow one another faster are invisible to people"""
_FELT_WAIT_S = 0.2
"""before replies whose events all come at once; a fast server sends short ones like that"""
_WHOLE_REPLY_EVENTS = 32
"""in one arrival, from which it is certain that replies are held back to their end"""
_LATE_READ_S = 0.005
_MIN_TOKENS_PER_EVENT = 1.5
_BUFFERING = " (nginx: `proxy_buffering off`)"
_VIA_HEADERS = ("via", "x-served-by", "x-envoy-upstream-service-time", "x-litellm-version", "cf-ray")
_PROXIES = ("nginx", "envoy", "haproxy", "caddy", "cloudflare", "traefik", "kong", "apache", "litellm", "openresty")


@dataclass(frozen=True, slots=True)
class _Arrivals:
    """How the token events of replies arrived."""

    events: int
    arrivals: int
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
    if seen.events < _MIN_EVENTS:
        short = f"Only {things(seen.events, 'token event')}: too few to tell."
        return CheckResult("streaming", Status.UNKNOWN, short, None, figures)
    return _bundled(seen, answered[0].headers, figures) or _one_by_one(seen, figures, true_counts=true_counts)


def _bundled(seen: _Arrivals, headers: Mapping[str, str], figures: Figures) -> CheckResult | None:
    """Return the finding if events arrived together; None if people would not notice."""
    if seen.arrivals == seen.replies and seen.wait >= _FELT_WAIT_S:
        return _at_once(seen, headers, figures)
    per_arrival = seen.events / seen.arrivals
    if per_arrival >= _LUMP_EVENTS and (seen.spacing or 0.0) >= _FELT_LUMP_S:
        return _lumps(seen, per_arrival, headers, figures)
    return None


def _one_by_one(seen: _Arrivals, figures: Figures, *, true_counts: bool) -> CheckResult:
    if true_counts and seen.tokens >= _MIN_TOKENS_PER_EVENT * seen.events:
        return _several_tokens(seen, figures)
    how = "by the kernel's stamps" if seen.stamped else "by our reads"
    spacing = f", {formats.seconds(seen.spacing)} apart" if seen.spacing else ""
    evidence = f"{things(seen.events, 'token event')} came one by one{spacing} ({how})."
    return CheckResult("streaming", Status.OK, evidence, None, figures)


def _unanswered(samples: Sequence[Answered]) -> CheckResult:
    if not samples:
        return CheckResult("streaming", Status.UNKNOWN, "No reply to judge.")
    why = next((sample.message for sample in samples if sample.message), samples[0].outcome)
    return CheckResult("streaming", Status.PROBLEM, f"Requests fail: {why}.", "Mend that first.")


def _arrivals(replies: Sequence[Answered]) -> _Arrivals:
    gaps = [later - earlier for reply in replies for earlier, later in pairwise(sorted(set(reply.at)))]
    lags = [lag for reply in replies for lag in reply.lags]
    waits = [reply.ttft for reply in replies if reply.ttft is not None]
    return _Arrivals(
        replies=sum(bool(reply.at) for reply in replies),
        wait=median(waits) if waits else 0.0,
        events=sum(len(reply.at) for reply in replies),
        arrivals=sum(sum(1 for _ in groupby(reply.at)) for reply in replies),
        tokens=sum(reply.tokens_out or len(reply.at) for reply in replies if reply.at),
        spacing=median(gaps) if gaps else None,
        late=median(lags) if lags else 0.0,
        stamped=all(reply.stamped for reply in replies),
    )


def _not_streamed(replies: Sequence[Answered]) -> CheckResult:
    first = replies[0]
    kind = safe_text(first.headers.get("content-type", "no content type"), length=60)
    between = _between(first.headers)
    evidence = f"Replies are not streamed: the whole answer comes at once ({kind})"
    evidence += f", through {between}." if between else "."
    advice = (
        "Let the proxy pass streams on (nginx: `proxy_buffering off`), or judge whole answers (--no-stream)."
        if between
        else "Let the server stream, or judge whole answers (--no-stream)."
    )
    return CheckResult("streaming", Status.PROBLEM, evidence, advice, {"streamed": False})


def _at_once(seen: _Arrivals, headers: Mapping[str, str], figures: Figures) -> CheckResult:
    each = seen.events / seen.replies
    status = Status.PROBLEM if each >= _WHOLE_REPLY_EVENTS else Status.WARN
    between = _between(headers) or "the server, or something in front of it,"
    told = f"All {formats.decimals(each)} token events of a reply came at once, {formats.seconds(seen.wait)} after the "
    told += f"request: {between} holds them back."
    return CheckResult("streaming", status, told, f"Switch buffering off there{_BUFFERING}.", figures)


def _lumps(seen: _Arrivals, per_arrival: float, headers: Mapping[str, str], figures: Figures) -> CheckResult:
    lump = f"{things(seen.events, 'token event')} came in {things(seen.arrivals, 'lump')}, on average "
    lump += f"{formats.decimals(per_arrival)} together, {formats.seconds(seen.spacing)} apart"
    if not seen.stamped or seen.late > _LATE_READ_S:
        why = f"this machine read them {formats.seconds(seen.late)} late" if seen.stamped else "nothing stamps them"
        told = f"{lump}. Who holds them back cannot be told: {why}."
        return CheckResult("streaming", Status.WARN, told, "Repeat it from a less busy machine.", figures)
    between = _between(headers)
    who = f"{between} holds bytes back" if between else "the server or something in front of it sends them together"
    where = "in the proxy" if between else "in the server, or in what is in front of it"
    told = f"{lump}, by the kernel's stamps: {who}. Silence and typing speed can only be judged lump by lump."
    return CheckResult("streaming", Status.WARN, told, f"Switch buffering off {where}{_BUFFERING}.", figures)


def _several_tokens(seen: _Arrivals, figures: Figures) -> CheckResult:
    share = seen.tokens / seen.events
    evidence = f"{formats.decimals(share)} tokens in each event: the server sends several at a time, so gaps between "
    evidence += "them are not seen."
    advice = "Have the server send each token (vLLM: `--stream-interval 1`), unless your users get it like this too."
    return CheckResult("streaming", Status.WARN, evidence, advice, figures)


def _between(headers: Mapping[str, str]) -> str | None:
    """Name what stands between, by the response's headers."""
    server = headers.get("server", "").lower()
    named = next((proxy for proxy in _PROXIES if proxy in server), None)
    if named:
        return named
    header = next((name for name in _VIA_HEADERS if name in headers), None)
    return f"a proxy (header `{header}`)" if header else None
