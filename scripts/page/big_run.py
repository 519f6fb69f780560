"""A run directory of any size with a stated course: an hour that climbs in ten levels and hits a wall at the ninth.

Every user of a level asks, waits `0.1 s + 0.8 s × load²` for the first word (load: its level's share of all users),
reads 40 tokens, and asks again `cycle` seconds after it asked before. From the ninth level on every third reply falls
silent for 2.5 s, and the servers' caches are full. Figures are drawn with a fixed seed; the same call writes the same.
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
PAUSE = 2.5
WORKERS = 4
STARTED = 1767323045.0
URL = "http://127.0.0.1:8000"
COUNTERS = {"prompt_tokens": 200, "generation_tokens": TOKENS, "prefix_queries": 200, "prefix_hits": 0,
            "requests_success": 1, "prompt_tokens_cached": 0}  # fmt: skip
"""what each reply adds"""


def build(run: Path, *, users: int, replies: int, seconds: float = 3600.0, engines: int = 1) -> Path:
    """Write the whole run directory: about so many replies, of so many users at the last level."""
    run.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    hold = seconds / LEVELS
    climb = [max(1, round(users * (level + 1) / LEVELS)) for level in range(LEVELS)]
    cycle = max(sum(climb) * hold / replies, 1.6)
    made = _replies(climb, hold, cycle, rng)
    made[list(columns(ReplyRow))].to_csv(run / "requests.csv", index=False, float_format="%.6f")
    _gaps(made).to_csv(run / "gaps.csv", index=False, float_format="%.6f")
    _users(climb, seconds).to_csv(run / "users.csv", index=False)
    _server(climb, made, engines, rng).to_csv(run / "server.csv", index=False, float_format="%.4f")
    _sketches(run, made, seconds, rng)
    _locust(run, len(made), seconds)
    manifest.write(run, _manifest(climb, hold, seconds, made["worker"].value_counts().to_dict()))
    return run


def _replies(climb: list[int], hold: float, cycle: float, rng: np.random.Generator) -> pd.DataFrame:
    """One row a reply, in order of sending."""
    parts = []
    for level, users in enumerate(climb):
        rounds = int(hold // cycle)
        user = np.repeat(np.arange(users), rounds)
        asked = np.tile(np.arange(rounds) * cycle, users) + level * hold
        due = asked + user / users * cycle * 0.9
        parts.append(pd.DataFrame({"user_n": user, "due": due, "level": level}))
    made = pd.concat(parts, ignore_index=True).sort_values("due", kind="stable", ignore_index=True)
    return _timed(made, rng)


def _timed(made: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Marks and figures for every reply."""
    number, load = np.arange(len(made)), (made["level"] + 1) / LEVELS
    wait = (0.1 + 0.8 * load**2) * rng.lognormal(0, 0.25, len(made))
    tpot = 0.008 + 0.012 * load * rng.lognormal(0, 0.1, len(made))
    held = (made["level"] >= 8) & (number % 3 == 0)
    pause = np.where(held, PAUSE, 0.0)
    worker = "w" + (made["user_n"] % WORKERS).astype(str)
    made["reply_id"], made["worker"] = worker + ":" + pd.Series(number).astype(str), worker
    made["user"] = worker + ":" + made["user_n"].astype(str)
    made["sent"], made["first"] = made["due"] + 0.0005, made["due"] + wait
    made["headers"], made["first_visible"] = made["first"] - 0.001, made["first"]
    made["last"] = made["first"] + (TOKENS - 1) * tpot + pause
    made["end"] = made["last"] + 0.0005
    made["tpot"] = made["tpot_visible"] = tpot + pause / (TOKENS - 1)
    made["longest_gap"] = made["longest_gap_visible"] = np.where(held, PAUSE, tpot * 2)
    made["gap_start"] = made["first"] + 20 * tpot
    fixed = {
        "scenario": "capacity", "kind": "chat", "streamed": 1, "late": 0.0, "tokens_in": 200, "tokens_cached": 0,
        "tokens_out": TOKENS, "tokens_from": "usage", "tokens_first": 1, "tokens_visible": TOKENS, "events": TOKENS,
        "events_visible": TOKENS, "choices": 1, "outcome": "complete", "finish_reason": "stop", "status": 200,
        "message": None, "connect": None, "tls": None, "lag_max": 0.0002, "reads": TOKENS + 1, "reads_unresolved": 0,
        "deadlines": TOKENS, "deadlines_missed": made["longest_gap"].ge(PAUSE) * 2,
    }  # fmt: skip
    return made.assign(**fixed)


def _gaps(made: pd.DataFrame) -> pd.DataFrame:
    held = made[made["longest_gap"] >= PAUSE]
    start = held["gap_start"]
    return pd.DataFrame({"reply_id": held["reply_id"], "start": start, "end": start + PAUSE, "tokens_before": 20})[
        list(columns(GapRow))
    ]


def _users(climb: list[int], seconds: float) -> pd.DataFrame:
    t = np.arange(int(seconds) + 1)
    users = np.array(climb)[np.minimum(t // (seconds / LEVELS), LEVELS - 1).astype(int)]
    rows = {"t": t.astype(float), "users": users, "target": users, "state": "running"}
    return pd.DataFrame(rows)[list(columns(UserRow))]


def _server(climb: list[int], made: pd.DataFrame, engines: int, rng: np.random.Generator) -> pd.DataFrame:
    """Ten quantities a second and engine."""
    seconds = int(made["end"].max()) + 2
    t = np.arange(seconds) + 0.3
    level = np.minimum(t // (seconds / LEVELS), LEVELS - 1).astype(int)
    ended = np.cumsum(np.bincount(made["end"].astype(int), minlength=seconds)[:seconds]) / engines
    ended = np.concatenate(([0.0], ended[:-1]))
    users = np.array(climb)[level] / engines
    wall = level >= 8
    parts = []
    for engine in range(engines):
        noise = rng.normal(0, 0.03, t.size)
        values = {"running": np.round(users * np.where(wall, 0.8, 1.0)), "waiting": np.round(users * 0.2 * wall)}
        values["kv_usage"] = np.clip(0.11 * (level + 1) + noise, 0, 1)
        values["preemptions"] = np.cumsum(wall & (rng.random(t.size) < 0.3))
        values |= {name: ended * each for name, each in COUNTERS.items()}
        for quantity, value in values.items():
            said = {"t": t, "url": URL, "engine": str(engine), "quantity": quantity, "value": value.astype(float)}
            parts.append(pd.DataFrame(said))
    return pd.concat(parts).sort_values("t", kind="stable")[list(columns(ServerRow))]


def _sketches(run: Path, made: pd.DataFrame, seconds: float, rng: np.random.Generator) -> None:
    """What the workers sketched; 300 gaps a window stand for all, so that building them does not take for ever."""
    book, master = WindowSketches(), MergedWindows()
    per_second = np.bincount(made["first"].astype(int), minlength=int(seconds) + 60) * TOKENS
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
    stats = ["Type,Name,Request Count,Failure Count,Median Response Time", f",Aggregated,{replies},0,900"]
    (run / "locust_stats.csv").write_text("\n".join(stats) + "\n", encoding="utf-8")
    rate = replies / seconds
    history = ["Timestamp,User Count,Type,Name,Requests/s,Failures/s"]
    history += [f"{STARTED + second:.0f},1,,Aggregated,{rate:.1f},0.0" for second in range(int(seconds))]
    (run / "locust_stats_history.csv").write_text("\n".join(history) + "\n", encoding="utf-8")


def _manifest(climb: list[int], hold: float, seconds: float, rows: dict[str, int]) -> dict[str, object]:
    return {
        "schema": manifest.SCHEMA,
        "run_id": "20260102T030405Z-capacity",
        "scenario": "capacity",
        "locustfile": "capacity.py",
        "started_at": "2026-01-02T03:04:05Z",
        "started_unix": STARTED,
        "ended_at": "2026-01-02T04:04:05Z",
        "duration": seconds,
        "end_reason": "levels_done",
        "versions": {"probe_ext": "0.1.0", "locust": "2.47.0", "python": "3.11.7", "platform": "Linux"},
        "target": {"host": URL, "model": "stated-model", "model_from": "server", "tls_verified": None},
        "options": {"levels": ",".join(map(str, climb)), "hold": hold, "settle": 5.0, "min_replies": 3, "slo": "chat"},
        "plan": {"levels": climb, "hold": hold, "settle": 5.0, "min_replies": 3},
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
