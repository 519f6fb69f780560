"""Small synthetic runs: rows as in a run directory, turned into evidence."""

from dataclasses import fields
from typing import Any

import numpy as np

from probe_ext.measure.sketch import LatencySketch
from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow, UserRow
from probe_ext.settings.slo import FirstWord, Silence, SloProfile, Typing
from probe_ext.verdict.evidence.evidence import Columns, Evidence, LocustCounts, Window

CHAT = SloProfile(
    name="chat",
    first_word=FirstWord(served=1.0, strained=10.0),
    typing=Typing(served=10.0, strained=5.0),
    silence=Silence(served=2.0, strained=10.0),
)

TEXT = {"reply_id", "worker", "user", "scenario", "kind", "tokens_from", "outcome", "finish_reason", "message"}
TEXT |= {"state", "url", "engine", "quantity", "delivery", "via"}


def reply(user: int | str = 0, sent: float = 0.0, **changes: Any) -> ReplyRow:
    """Return a good reply: first word after 0.2 s, 20 tokens at 20 tokens/s, complete."""
    first = changes.pop("first", sent + 0.2)
    tpot = changes.pop("tpot", 0.05)
    tokens = changes.pop("tokens_out", 20)
    last = first + tpot * (tokens - 1) if first is not None and tpot is not None and tokens else first
    good = dict(  # noqa: C408 - these are keywords
        reply_id=f"w1:{user}-{sent:.6f}", worker="w1", user=f"w1:{user}", scenario="capacity", kind="chat",
        streamed=True,
        due=sent, late=0.0, sent=sent, headers=first, first=first, first_visible=first, last=last,
        end=last if last is not None else sent + 1.0, tokens_in=100, tokens_cached=0, tokens_out=tokens,
        tokens_from="usage", tokens_first=1, tokens_visible=tokens, events=tokens or 0, events_visible=tokens or 0,
        choices=1, tpot=tpot, tpot_visible=tpot, longest_gap=tpot, gap_start=first, longest_gap_visible=tpot,
        outcome="complete", finish_reason="stop", status=200, message=None, connect=None, tls=None, lag_max=0.0001,
        reads=20, reads_unresolved=0, delivery="stream", segments=21, tokens_held=0, text_bytes=4 * (tokens or 0),
        tokens_meant=100,
    )  # fmt: skip
    return ReplyRow(**(good | changes))


def slow_start(user: int, sent: float, wait: float) -> ReplyRow:
    """Return a reply whose first word took `wait` seconds."""
    return reply(user, sent, first=sent + wait)


def columns(rows: list[Any], row_type: type) -> Columns:
    """Turn rows into columns of evidence."""
    return {f.name: _column(f.name, [getattr(row, f.name) for row in rows]) for f in fields(row_type)}


def _column(name: str, values: list[Any]) -> np.ndarray:
    if name == "streamed":
        return np.array(values, dtype=bool)
    if name in TEXT:
        out = np.empty(len(values), dtype=object)
        out[:] = ["" if value is None else value for value in values]
        return out
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def staircase(*steps: tuple[int, float]) -> list[UserRow]:
    """Return one sample a second of steps (users, seconds) from second 0 on; stopping at the end."""
    rows, t = [], 0.0
    for users, seconds in steps:
        rows += [UserRow(t + s, users, users, "running") for s in range(int(seconds))]
        t += int(seconds)
    return [*rows, UserRow(t, steps[-1][0] if steps else 0, None, "stopping")]


def worker(**changes: Any) -> dict[str, Any]:
    """Return the entry of a worker without problems."""
    good = {
        "id": "w1", "host": "here", "version": "0.1.0", "clock_offset": 0.0, "clock_error": 0.0001, "started": 0,
        "rows": 0, "last_word": 99.0, "lost_at": None, "left_at": None, "cpu_seconds": 1.0, "loop_lag_max": 0.01,
        "receive_stamps": "kernel",
    }  # fmt: skip
    return {**good, **changes}


def manifest(**changes: Any) -> dict[str, Any]:
    """Return the manifest of a run with planned levels."""
    plan = {"levels": [], "hold": 30.0, "settle": 5.0, "min_replies": 3}
    good = {
        "schema": 1, "scenario": "capacity", "duration": 100.0, "end_reason": "levels_done",
        "ended_at": "2026-01-02T03:05:45.000Z", "plan": plan,
        "target": {"host": "http://server:8000", "model": "m"}, "workers": [worker()],
        "server": [{"url": "http://server:8000/metrics", "metrics": "ok"}], "findings": [],
        "prompts": {"input_tokens": 100, "shared_prefix_tokens": 0},
    }  # fmt: skip
    return {**good, **changes}


TOKEN_WINDOWS = tuple(Window("tokens", second, 1.0, 100, None) for second in range(200))


def evidence(replies: list[ReplyRow], users: list[UserRow], **changes: Any) -> Evidence:
    """Return a run with these replies and users, in which everything else is in order."""
    stated = changes.pop("manifest", None) or manifest(workers=[worker(started=len(replies))])
    lag = LatencySketch()
    lag.add([0.0005] * 100)
    server = changes.pop("server", [])
    parts: dict[str, Any] = {
        "replies": columns(replies, ReplyRow),
        "gaps": columns([], GapRow),
        "users": columns(users, UserRow),
        "server": columns(server, ServerRow),
        "windows": [Window("lag", 0.0, 5.0, None, lag), *TOKEN_WINDOWS],
        "manifest": stated,
        "locust": LocustCounts(len(replies), 0),
        "damage": (),
    }
    return Evidence(**{**parts, **changes})


def steady(users: int, start: float, seconds: float, every: float = 3.0, **changes: Any) -> list[ReplyRow]:
    """Return good replies to users who each send one request per interval, after the settling time."""
    moments = np.arange(start + 5.0 + 0.1, start + seconds - 0.1, every)
    return [reply(user, float(t), **changes) for t in moments for user in range(users)]


LEVEL_S = 45
"""Long enough for users of `asked` to prove a level of 4 users or more."""


def asked(users: int, start: float = 0.0, seconds: float = LEVEL_S, every: float = 1.5) -> list[tuple[int, float]]:
    """Return who asks when in a level: users take turns, each once per interval, after the settling time."""
    step = every / users
    count = int((seconds - 5.2) / step)
    return [(n % users, round(start + 5.1 + n * step, 6)) for n in range(count)]


def good(users: int, start: float = 0.0, seconds: float = LEVEL_S, **changes: Any) -> list[ReplyRow]:
    """Return a level of good replies."""
    return [reply(user, t, **changes) for user, t in asked(users, start, seconds)]


def slow(users: int, start: float = 0.0, seconds: float = LEVEL_S, wait: float = 2.0) -> list[ReplyRow]:
    """Return a level of replies whose first word takes too long."""
    return [slow_start(user, t, wait) for user, t in asked(users, start, seconds)]


def mixed(users: int, share: float, start: float = 0.0, seconds: float = LEVEL_S, *, seed: int = 1) -> list[ReplyRow]:
    """Return a level in which this share of replies is good and the others are slow, independent of each other."""
    fates = np.random.default_rng([users, seed]).random(100_000) < share
    turns = enumerate(asked(users, start, seconds))
    return [reply(user, t) if fates[n] else slow_start(user, t, 2.0) for n, (user, t) in turns]
