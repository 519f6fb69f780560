"""The current figures in one line of limited width: the least important parts are shortened first, then omitted."""

from probe_ext.live.live_run import Now
from probe_ext.verdict.values import formats, plurals

_BY_IMPORTANCE = ("users", "ttft", "preemptions", "waiting", "kv", "failed", "rate", "position", "replies")
_ORDER = ("position", "users", "replies", "failed", "ttft", "rate", "kv", "waiting", "preemptions")
_CATEGORIES = ("served", "strained", "broken", "undecided")


def status_line(now: Now, position: str = "", width: int | None = None) -> str:
    """Return the line; `position` is the current step of the plan. Unknown figures are omitted."""
    shown: dict[str, str] = {}
    full = _full(now, position)
    for forms in ({**full, **_short(now, position)}, full):
        for name in _BY_IMPORTANCE:
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
        "users": _users(now, _CATEGORIES),
        "replies": plurals.things(now.replies, "reply", "replies"),
        "failed": f"{now.failed} failed" if now.failed else "",
        "ttft": "" if ttft is None else f"TTFT p95 {formats.seconds(ttft)}",
        "rate": "" if rate is None else f"{formats.rate(rate)} tok/s each",
        "kv": "" if now.kv_usage is None else f"KV {formats.percent(now.kv_usage)}",
        "waiting": "" if now.waiting is None else f"{formats.count(now.waiting)} waiting",
        "preemptions": plurals.things(now.preemptions, "preemption") if now.preemptions else "",
    }


def _short(now: Now, position: str) -> dict[str, str]:
    """Return the shorter forms of parts that have one."""
    rate = now.window.decode_rate_p50
    return {
        "position": position.removeprefix("level ").removeprefix("search: "),
        "users": _users(now, _CATEGORIES[:-1]),
        "rate": "" if rate is None else f"{formats.rate(rate)} tok/s",
        "waiting": "" if now.waiting is None else f"{formats.count(now.waiting)} wait",
        "preemptions": f"{now.preemptions} preempted" if now.preemptions else "",
    }


def _users(now: Now, categories: tuple[str, ...]) -> str:
    counts = [f"{n} {category}" for category in categories if (n := getattr(now, f"users_{category}"))]
    return plurals.things(now.users, "user") + (f": {', '.join(counts)}" if counts else "")
