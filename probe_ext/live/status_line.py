"""The current figures in one line of limited width: the least important parts are shortened first, then omitted."""

from probe_ext.live.live_levels import LevelNow
from probe_ext.live.live_run import Now
from probe_ext.live.status_text import all_failed, no_longer_answers, rolling_text, short_capacity
from probe_ext.measure.rate import Rate
from probe_ext.verdict.phrasing import formats, plurals
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate

_BY_IMPORTANCE = (
    *("gone", "users", "share", "so_far", "ttft", "preemptions", "waiting", "position"),
    *("rolling", "kv", "failed", "rate", "replies"),
)
_ORDER = (
    *("position", "users", "gone", "share", "replies", "so_far", "failed", "ttft"),
    *("rate", "kv", "waiting", "preemptions", "rolling"),
)


def status_line(now: Now, estimate: CapacityEstimate | None, position: str = "", width: int | None = None) -> str:
    """Return the line; `position` is the current step of the plan. Unknown figures are omitted."""
    if failure := all_failed(now):
        return failure if width is None or len(failure) <= width else f"{failure[: width - 1]}…"
    shown: dict[str, str] = {}
    full = _full(now, estimate, position)
    for forms in ({**full, **_short(now, estimate, position)}, full):
        for name in _BY_IMPORTANCE:
            wider = {**shown, name: forms[name]}
            if width is None or len(_joined(wider)) <= width:
                shown = wider
    return _joined(shown)


def _joined(parts: dict[str, str]) -> str:
    return " · ".join(parts[name] for name in _ORDER if parts.get(name))


def _full(now: Now, estimate: CapacityEstimate | None, position: str) -> dict[str, str]:
    capacity = _so_far(now, estimate)
    return {
        "position": position,
        "users": _users(now),
        "gone": no_longer_answers(now),
        "share": _share(now, with_range=True),
        "replies": _replies(now),
        "so_far": f"so far {capacity}" if capacity else "",
        "failed": f"{now.failed} failed" if now.failed else "",
        **_speed(now),
        "kv": "" if now.kv_usage is None else f"KV {formats.percent(now.kv_usage)}",
        "waiting": "" if now.waiting is None else f"{formats.count(now.waiting)} waiting",
        "preemptions": plurals.things(now.preemptions, "preemption") if now.preemptions else "",
        "rolling": rolling_text(now.rolling),
    }


def _short(now: Now, estimate: CapacityEstimate | None, position: str) -> dict[str, str]:
    """Return the shorter forms of parts that have one; of the least important one, nothing."""
    return {
        "position": position.removeprefix("level ").partition(", ")[0],
        "share": _share(now, with_range=False),
        "replies": "",
        "waiting": "" if now.waiting is None else f"{formats.count(now.waiting)} wait",
        "preemptions": f"{now.preemptions} preempted" if now.preemptions else "",
    }


def _replies(now: Now) -> str:
    """Return how many replies were sent and ended since the level settled, unless its share says so; else the run's."""
    if now.level is None:
        return plurals.things(now.replies, "reply", "replies") + (" in all" if now.replies else "")
    has_share = now.level.is_judged and not now.level.is_early
    return "" if has_share else f"{plurals.things(now.level.replies, 'reply', 'replies')} since settling"


def _speed(now: Now) -> dict[str, str]:
    """Return TTFT and decode rate of the level that is measured; without one, of recent replies, which it says."""
    of = now.level or now.window
    known = {"p95": of.ttft_p95, "p50": of.ttft_p50}  # p50 while replies are too few for p95
    ttft = next((f"TTFT {name} {formats.seconds(value)}" for name, value in known.items() if value is not None), "")
    rate = "" if of.decode_rate_p50 is None else f"{formats.rate(of.decode_rate_p50)} tok/s per reply"
    if now.level is not None:
        both = now.level.is_revisit and not now.level.is_early  # then the share is of all visits
        this = "this visit: " if both else ""
        return {"ttft": ttft and this + ttft, "rate": rate if ttft else rate and this + rate}
    recent = ", ".join(filter(None, (ttft, rate)))
    return {"ttft": recent and f"last {formats.span(min(now.window_s, now.t))}: {recent}", "rate": ""}


def _so_far(now: Now, estimate: CapacityEstimate | None) -> str:
    """Return `8–15`; where that is wider than before `8–15, 10 was not proven`."""
    capacity = short_capacity(estimate)
    return f"{capacity}, {now.widening.short}" if capacity and now.widening else capacity


def _users(now: Now) -> str:
    """Return `8 users`; while the number grows `8 of 16 users`, while it falls `14 users, down to 8`."""
    if isinstance(now.users, Rate) or now.target is None or now.target == now.users:
        return plurals.things(now.users, "user")
    if now.target < now.users:
        return f"{plurals.things(now.users, 'user')}, down to {now.target}"
    return f"{now.users} of {plurals.things(now.target, 'user')}"


def _share(now: Now, *, with_range: bool) -> str:
    """Return the served share of the level that is being measured, or how far it is from one."""
    if now.level is None:
        return _settling(now)
    if now.level.others is not None and not now.level.is_judged:
        return f"others use the server ({formats.percent(now.level.others.share)}), not judged"
    return "too early to say" if now.level.is_early else share_text(now.level, with_range=with_range)


def _settling(now: Now) -> str:
    """Return `settling, 2 s`; once that is over `settling`, while a plan waits for replies of the level before."""
    if now.settles_in is not None:
        return f"settling, {now.settles_in:.0f} s"
    return "settling" if now.position and now.users and now.users == now.target else ""


def share_text(level: LevelNow, *, with_range: bool) -> str:
    """Return `97 % of 180 replies served (94–99)`; after an earlier visit `97 % served in all visits`."""
    judged = "" if level.replies_judged is None else f" of {plurals.things(level.replies_judged, 'reply', 'replies')}"
    visits = " in all visits" if level.is_revisit else ""
    served = f"{formats.percent(level.served_share)}{judged if with_range else ''} served{visits}"
    low, high = level.served_share_low, level.served_share_high
    return f"{served} ({100 * (low or 0):.0f}–{100 * (high or 0):.0f})" if with_range else served
