"""Measure the master's CPU time for the live view, by replies per second and users.

python scripts/live_cost.py
"""

import time

import orjson

from probe_ext.bundled import folder
from probe_ext.live.live_levels import Rules
from probe_ext.live.live_run import LiveRun
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.measure.table_rows import ReplyRow, ServerRow, UserRow
from probe_ext.settings.slo import load_profile

RUN_S = 60


def reply(user: int, sent: float) -> ReplyRow:
    """Build a served reply: TTFT 0.2 s, 20 tokens in one second."""
    first, last = sent + 0.2, sent + 1.2
    marks = {"due": sent, "late": 0.0, "sent": sent, "headers": first, "first": first, "last": last, "end": last}
    ids = {"reply_id": f"w:{user}:{sent}", "worker": "w", "user": f"w:{user}", "scenario": "capacity", "kind": "chat"}
    tokens = {"tokens_in": 100, "tokens_cached": 0, "tokens_out": 20, "tokens_from": "usage", "tokens_first": 1}
    visible = {"first_visible": first, "tokens_visible": 20, "events": 20, "events_visible": 20, "choices": 1}
    gaps = {"tpot": 0.05, "tpot_visible": 0.05, "longest_gap": 0.05, "gap_start": first, "longest_gap_visible": 0.05}
    end = {"outcome": "complete", "finish_reason": "stop", "status": 200, "message": None, "connect": None, "tls": None}
    reads = {"lag_max": 1e-4, "reads": 20, "reads_unresolved": 0}
    values: dict[str, object] = {**marks, **ids, **tokens, **visible, **gaps, **end, **reads, "streamed": True}
    return ReplyRow(**values)  # type: ignore[arg-type]


def cost(rate: int, users: int) -> tuple[float, float]:
    """Return CPU milliseconds per second of the run: to update the live view, and to serve it to a page."""
    profile = load_profile("chat", folder("configs") / "slo")
    live, update, serve = LiveRun(Rules(profile), VisitMonitor(profile, min_replies=3)), 0.0, 0.0
    for second in range(RUN_S):
        t = float(second)
        rows = [reply((second * rate + n) % users, t - 2.0) for n in range(rate)]
        before = time.process_time()
        live.on_users(UserRow(t, users, users, "running"))
        live.on_server([ServerRow(t, "u", "0", "kv_usage", 0.5)])
        for row in rows:
            live.on_reply(row)
        live.tick(t)
        updated = time.process_time()
        orjson.dumps([level.to_json() for level in live.levels.all])
        orjson.dumps(live.history.recent())
        update, serve = update + updated - before, serve + time.process_time() - updated
    return 1000 * update / RUN_S, 1000 * serve / RUN_S


if __name__ == "__main__":
    print("replies/s  users     update        serve")
    for rate, users in ((1, 3), (30, 100), (300, 10_000)):
        update, serve = cost(rate, users)
        print(f"{rate:9d} {users:6d} {update:7.1f} ms {serve:9.1f} ms")
