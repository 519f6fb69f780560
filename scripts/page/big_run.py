"""Write a synthetic run directory of any size: ten levels in an hour, with a full KV cache from the ninth level on.

Each user sends a request, gets the first token after `0.1 s + 0.8 s × load²` (load: its level's fraction of all users)
and 40 tokens in all, and sends the next request `cycle` seconds after the previous one. From the ninth level on, every
third reply falls silent for 2.5 s and the servers' KV caches are full. The random seed is fixed, so that the same
arguments write the same files.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow, UserRow, columns
from probe_ext.measure.window_sketches import MergedWindows, WindowSketches
from probe_ext.run import manifest

LEVELS = 10
TOKENS = 40
PAUSE_S = 2.5
WORKERS = 4
STARTED_UNIX = 1767323045.0
URL = "http://127.0.0.1:8000"
COUNTERS = {"prompt_tokens": 200, "generation_tokens": TOKENS, "prefix_queries": 200, "prefix_hits": 0,
            "requests_success": 1, "prompt_tokens_cached": 0}  # fmt: skip
"""Increase of each counter per reply."""


def build(run: Path, *, users: int, replies: int, seconds: float = 3600.0, engines: int = 1) -> Path:
    """Write a run directory with about ``replies`` replies and ``users`` users at the last level."""
    run.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    hold = seconds / LEVELS
    users_by_level = [max(1, round(users * (level + 1) / LEVELS)) for level in range(LEVELS)]
    cycle = max(sum(users_by_level) * hold / replies, 1.6)
    frame = _replies(users_by_level, hold, cycle, rng)
    frame.reindex(columns=list(columns(ReplyRow))).to_csv(run / "requests.csv", index=False, float_format="%.6f")
    _gaps(frame).to_csv(run / "gaps.csv", index=False, float_format="%.6f")
    _users(users_by_level, seconds).to_csv(run / "users.csv", index=False)
    _server(users_by_level, frame, engines, rng).to_csv(run / "server.csv", index=False, float_format="%.4f")
    _sketches(run, frame, seconds, rng)
    _locust(run, len(frame), seconds)
    manifest.write(run, _manifest(users_by_level, hold, seconds, frame["worker"].value_counts().to_dict()))
    return run


def _replies(users_by_level: list[int], hold: float, cycle: float, rng: np.random.Generator) -> pd.DataFrame:
    """Build one row per reply, in order of sending."""
    parts = []
    for level, users in enumerate(users_by_level):
        rounds = int(hold // cycle)
        user = np.repeat(np.arange(users), rounds)
        start = np.tile(np.arange(rounds) * cycle, users) + level * hold
        due = start + user / users * cycle * 0.9
        parts.append(pd.DataFrame({"user_n": user, "due": due, "level": level}))
    frame = pd.concat(parts, ignore_index=True).sort_values("due", kind="stable", ignore_index=True)
    return _add_timings(frame, rng)


def _add_timings(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Add the times and figures of every reply."""
    number, load = np.arange(len(frame)), (frame["level"] + 1) / LEVELS
    ttft = (0.1 + 0.8 * load**2) * rng.lognormal(0, 0.25, len(frame))
    tpot = 0.008 + 0.012 * load * rng.lognormal(0, 0.1, len(frame))
    paused = (frame["level"] >= 8) & (rng.random(len(frame)) < 1 / 3)
    pause = np.where(paused, PAUSE_S, 0.0)
    worker = "w" + (frame["user_n"] % WORKERS).astype(str)
    frame["reply_id"], frame["worker"] = worker + ":" + pd.Series(number).astype(str), worker
    frame["user"] = worker + ":" + frame["user_n"].astype(str)
    frame["sent"], frame["first"] = frame["due"] + 0.0005, frame["due"] + ttft
    frame["headers"], frame["first_visible"] = frame["first"] - 0.001, frame["first"]
    frame["last"] = frame["first"] + (TOKENS - 1) * tpot + pause
    frame["end"] = frame["last"] + 0.0005
    frame["tpot"] = frame["tpot_visible"] = tpot + pause / (TOKENS - 1)
    frame["longest_gap"] = frame["longest_gap_visible"] = np.where(paused, PAUSE_S, tpot * 2)
    frame["gap_start"] = frame["first"] + 20 * tpot
    fixed = {
        "scenario": "capacity", "kind": "chat", "streamed": 1, "late": 0.0, "tokens_in": 200, "tokens_cached": 0,
        "tokens_out": TOKENS, "tokens_from": "usage", "tokens_first": 1, "tokens_visible": TOKENS, "events": TOKENS,
        "events_visible": TOKENS, "choices": 1, "outcome": "complete", "finish_reason": "stop", "status": 200,
        "message": None, "connect": None, "resolve": None, "tls": None,
        "lag_max": 0.0002, "reads": TOKENS + 1, "reads_unresolved": 0,
        "server_ttft": None, "server_queue": None, "server_itl": None,
        "tokens_reasoning": None, "gap_tokens": 1, "deadlines": TOKENS,
        "deadlines_missed": frame["longest_gap"].ge(PAUSE_S) * 2,
    }  # fmt: skip
    return frame.assign(**fixed)


def _gaps(frame: pd.DataFrame) -> pd.DataFrame:
    paused = frame[frame["longest_gap"] >= PAUSE_S]
    start = paused["gap_start"]
    gaps = pd.DataFrame({"reply_id": paused["reply_id"], "start": start, "end": start + PAUSE_S, "tokens_before": 20})
    return gaps.reindex(columns=list(columns(GapRow)))


def _users(users_by_level: list[int], seconds: float) -> pd.DataFrame:
    t = np.arange(int(seconds) + 1)
    users = np.array(users_by_level)[np.minimum(t // (seconds / LEVELS), LEVELS - 1).astype(int)]
    rows = {"t": t.astype(float), "users": users, "target": users, "state": "running"}
    return pd.DataFrame(rows).reindex(columns=list(columns(UserRow)))


def _server(users_by_level: list[int], frame: pd.DataFrame, engines: int, rng: np.random.Generator) -> pd.DataFrame:
    """Build ten quantities per second and engine."""
    seconds = int(frame["end"].max()) + 2
    t = np.arange(seconds) + 0.3
    level = np.minimum(t // (seconds / LEVELS), LEVELS - 1).astype(int)
    finished = np.cumsum(np.bincount(frame["end"].astype(int), minlength=seconds)[:seconds]) / engines
    finished = np.concatenate(([0.0], finished[:-1]))
    users = np.array(users_by_level)[level] / engines
    full = level >= 8
    parts = []
    for engine in range(engines):
        noise = rng.normal(0, 0.03, t.size)
        values = {"running": np.round(users * np.where(full, 0.8, 1.0)), "waiting": np.round(users * 0.2 * full)}
        values["kv_usage"] = np.clip(0.11 * (level + 1) + noise, 0, 1)
        values["preemptions"] = np.cumsum(full & (rng.random(t.size) < 0.3))
        values |= {name: finished * each for name, each in COUNTERS.items()}
        for quantity, value in values.items():
            sample = {
                "t": t,
                "url": URL,
                "engine": str(engine),
                "quantity": quantity,
                "value": value.astype(float),
                "width": 0.01,
            }
            parts.append(pd.DataFrame(sample))
    return pd.concat(parts).sort_values("t", kind="stable").reindex(columns=list(columns(ServerRow)))


def _sketches(run: Path, frame: pd.DataFrame, seconds: float, rng: np.random.Generator) -> None:
    """Write the workers' sketches; 300 gaps per window represent all, to keep this fast."""
    book, master = WindowSketches(), MergedWindows()
    per_second = np.bincount(frame["first"].astype(int), minlength=int(seconds) + 60) * TOKENS
    for second in range(int(seconds)):
        book.count("tokens", second, int(per_second[second]))
    for start in range(0, int(seconds), 5):
        load = (min(start // (seconds / LEVELS), LEVELS - 1) + 1) / LEVELS
        gaps = ((0.008 + 0.012 * load) * rng.lognormal(0, 0.3, 300)).tolist()
        book.add("gap", start, gaps)
        book.add("itl", start, [gap / 2 for gap in gaps] if load > 0.5 else gaps)
        book.add("ttft", start, ((0.1 + 0.8 * load**2) * rng.lognormal(0, 0.25, 60)).tolist())
        book.add("lag", start, [0.0002] * 10)
    master.merge("w0", book.take_changes())
    (run / "sketches.jsonl").write_text("".join(json.dumps(line) + "\n" for line in master.records()), encoding="utf-8")


def _locust(run: Path, replies: int, seconds: float) -> None:
    head = "Type,Name,Request Count,Failure Count,Median Response Time"
    stats = [head, f"LLM,chat,{replies},0,900", f",Aggregated,{replies},0,900"]
    (run / "locust_stats.csv").write_text("\n".join(stats) + "\n", encoding="utf-8")
    rate = replies / seconds
    history = ["Timestamp,User Count,Type,Name,Requests/s,Failures/s"]
    history += [f"{STARTED_UNIX + second:.0f},1,,Aggregated,{rate:.1f},0.0" for second in range(int(seconds))]
    (run / "locust_stats_history.csv").write_text("\n".join(history) + "\n", encoding="utf-8")


def _manifest(users_by_level: list[int], hold: float, seconds: float, rows: dict[str, int]) -> dict[str, object]:
    return {
        "schema": manifest.SCHEMA,
        "run_id": "20260102T030405Z-capacity",
        "scenario": "capacity",
        "locustfile": "capacity.py",
        "started_at": "2026-01-02T03:04:05Z",
        "started_unix": STARTED_UNIX,
        "ended_at": "2026-01-02T04:04:05Z",
        "duration": seconds,
        "end_reason": "levels_done",
        "versions": {"probe_ext": "0.1.0", "locust": "2.47.0", "python": "3.11.7", "platform": "Linux"},
        "target": {"host": URL, "model": "stated-model", "model_from": "server", "tls_verified": None},
        "options": {"levels": ",".join(map(str, users_by_level)), "hold": hold, "settle": 5.0, "min_replies": 3,
                    "slo": "chat"},
        "plan": {"levels": users_by_level, "hold": hold, "settle": 5.0, "min_replies": 3},
        "workers": [_worker(name, rows[name], seconds) for name in sorted(rows)],
        "server": [{"url": URL, "kind": "vllm", "version": "0.32.0", "models": ["stated-model"],
                    "max_model_len": 4096, "cache": {"num_gpu_blocks": 3300, "block_size": 16}, "metrics": "ok"}],
        "prompts": {"seed": 0, "input_tokens": 200, "counted_by": "tokenize", "shared_prefix_tokens": 0},
        "findings": [],
    }  # fmt: skip


def _worker(name: str, rows: int, seconds: float) -> dict[str, object]:
    return {"id": name, "host": f"box-{name}", "version": "0.1.0", "clock_offset": 0.0, "clock_error": 0.0001,
            "started": rows, "rows": rows, "last_word": True, "lost_at": None, "cpu_seconds": 3.0,
            "loop_lag_max": 0.002, "receive_stamps": "kernel"}  # fmt: skip
