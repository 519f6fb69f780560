"""A moment of a run in one line, as wide as there is room: what matters least is shortened first, then left out."""

from probe_ext.live.live_run import Now
from probe_ext.verdict.values import formats, plurals

_IMPORTANT = ("felt", "ttft", "preemptions", "waiting", "kv", "failed", "rate", "position", "replies")
"""the most important first"""
_ORDER = ("position", "felt", "replies", "failed", "ttft", "rate", "kv", "waiting", "preemptions")
"""in which they stand"""
_FELT = ("served", "strained", "broken", "undecided")


def status_line(now: Now, position: str = "", width: int | None = None) -> str:
    """`position` is where the plan stands; what is not known is left out."""
    shown: dict[str, str] = {}
    full = _full(now, position)
    for forms in ({**full, **_short(now, position)}, full):
        for name in _IMPORTANT:
            wider = {**shown, name: forms[name]}
            if width is None or len(_joined(wider)) <= width:
                shown = wider
    return _joined(shown)


def _joined(parts: dict[str, str]) -> str:
    return " · ".join(parts[name] for name in _ORDER if parts.get(name))


def _full(now: Now, position: str) -> dict[str, str]:
    ttft, rate = now.window.ttft_p95, now.window.decode_rate_p50
    return {
        "position": position,
        "felt": _people(now, _FELT),
        "replies": plurals.things(now.replies, "reply", "replies"),
        "failed": f"{now.failed} failed" if now.failed else "",
        "ttft": "" if ttft is None else f"TTFT p95 {formats.seconds(ttft)}",
        "rate": "" if rate is None else f"{formats.rate(rate)} tok/s each",
        "kv": "" if now.kv_usage is None else f"KV {formats.percent(now.kv_usage)}",
        "waiting": "" if now.waiting is None else f"{formats.count(now.waiting)} waiting",
        "preemptions": plurals.things(now.preemptions, "preemption") if now.preemptions else "",
    }


def _short(now: Now, position: str) -> dict[str, str]:
    """Those of which there is a shorter form."""
    rate = now.window.decode_rate_p50
    return {
        "position": position.removeprefix("level ").removeprefix("search: "),
        "felt": _people(now, _FELT[:-1]),
        "rate": "" if rate is None else f"{formats.rate(rate)} tok/s",
        "waiting": "" if now.waiting is None else f"{formats.count(now.waiting)} wait",
        "preemptions": f"{now.preemptions} preempted" if now.preemptions else "",
    }


def _people(now: Now, kinds: tuple[str, ...]) -> str:
    """Who feels what, as far as anybody has been heard."""
    told = [f"{n} {kind}" for kind in kinds if (n := getattr(now, f"users_{kind}"))]
    return plurals.things(now.users, "user") + (f": {', '.join(told)}" if told else "")
