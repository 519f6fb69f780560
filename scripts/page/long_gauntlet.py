"""Write the run directory of a long gauntlet: one open stream for hours or days, two kinds of user, one outage.

Requests arrive at random times at a constant rate, two thirds of them of a kind with short answers. In the middle the
server is down for half an hour, and rejects all requests. Rows are written piece by piece, so the run may be of any
size; the random seed is fixed, so that the same arguments write the same files.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probe_ext.measure.table_rows import MIN_RECORDED_GAP_S, GapRow, ReplyRow, ServerRow, UserRow, columns
from probe_ext.measure.window_sketches import MergedWindows, WindowSketches
from probe_ext.run import manifest
from probe_ext.workload.arrival_times import ArrivalForm, segment_seed

RATE, SEED = 100.0, 1
WORKERS = [f"vm_{n:032x}" for n in range(4)]
USERS = 512
KINDS = ("question", "story")
TOKENS = {"question": 32, "story": 180}
STORIES, OUTAGE_S = 1 / 3, 1800.0
STARTED_UNIX = 1767323045.0
URL = "http://127.0.0.1:8000"
PIECE = 100_000
POLL_S, WINDOW_S = 5.0, 5

Floats, Bools = NDArray[np.float64], NDArray[np.bool_]


def build(run: Path, *, replies: int, rate: float = RATE) -> Path:
    """Write a run directory of so many requests, which arrive at `rate` per second."""
    run.mkdir(parents=True, exist_ok=True)
    rng, arrivals = np.random.default_rng(SEED), ArrivalForm("poisson").times(rate, segment_seed(SEED, 0))
    end, since = 0.0, replies / rate / 2
    counts = dict.fromkeys(WORKERS, 0)
    done = np.zeros((int(replies / rate * 1.1 / POLL_S) + 100, 2))
    """number of replies that ended, and their tokens, between two samples of the server"""
    with (run / "requests.csv").open("w", encoding="utf-8") as table, (run / "gaps.csv").open("w") as gaps:
        table.write(",".join(columns(ReplyRow)) + "\n")
        gaps.write(",".join(columns(GapRow)) + "\n")
        for first in range(0, replies, PIECE):
            size = min(PIECE, replies - first)
            due = np.fromiter(itertools.islice(arrivals, size), dtype=np.float64, count=size)
            end = float(due[-1])
            down, story = (due >= since) & (due < since + OUTAGE_S), rng.random(size) < STORIES
            at, answered = (due / POLL_S).astype(np.int64)[~down], ~down
            tokens = np.where(story, *(TOKENS[kind] for kind in reversed(KINDS)))[answered]
            done += np.stack([np.bincount(at, w, len(done)) for w in (np.ones(len(at)), tokens)], axis=1)
            for line, gap in _rows(due, down, story, counts, rng):
                table.write(line)
                gaps.write(gap)
    _users(run, end, rate)
    _server(run, end, rate, np.cumsum(done, axis=0))
    _sketches(run, end, rate, rng)
    _locust(run, replies, replies - int(done[:, 0].sum()), end)
    manifest.write(run, _manifest(end, rate, counts))
    return run


def _rows(
    due: Floats, down: Bools, story: Bools, counts: dict[str, int], rng: np.random.Generator
) -> Iterator[tuple[str, str]]:
    """Yield the line of each request, and that of its long gap, if it has one."""
    size = len(due)
    worker, user, ttft = (
        rng.integers(0, len(WORKERS), size),
        rng.integers(0, USERS, size),
        0.08 * rng.lognormal(0, 0.4, size),
    )
    tpot, late, paused = 0.018 * rng.lognormal(0, 0.08, size), rng.exponential(0.0004, size), rng.random(size) < 0.002
    rows = zip(due.tolist(), down.tolist(), story.tolist(), worker.tolist(), user.tolist(), ttft.tolist(),
               tpot.tolist(), late.tolist(), paused.tolist(), strict=True)  # fmt: skip
    for at, is_down, is_story, place, person, wait, speed, behind, pauses in rows:
        name, kind = WORKERS[place], KINDS[is_story]
        counts[name] += 1
        head = f"{name}:{counts[name]},{name},{name}:{person},{kind},chat,1,{at:.9f},{behind:.9f},{at + behind:.9f},"
        if is_down:
            line = f"{head}{at + 0.004:.9f},,,,{at + 0.005:.9f},,,,,,,0,0,1,,,,,,rejected,,503,the server restarts,,,"
            yield f"{line}0.000201,1,0,,,,,,,,,,2,,,0,,30,Python/3.11 aiohttp/3.14.5,\n", ""
            continue
        n, pause = TOKENS[kind], 2.5 if pauses else 0.0
        began = at + wait
        gap_at, gap = began + 5 * speed, speed * 1.9 + pause
        last = began + (n - 1) * speed + pause
        mean = speed + pause / (n - 1)
        line = (
            f"{head}{began - 0.001:.9f},{began:.9f},{began:.9f},{last:.9f},{last + 0.0004:.9f},{20 + n},0,{n},usage,1,"
            f"{n},{n},{n},1,{mean:.9f},{mean:.9f},{gap:.9f},{gap_at:.9f},{gap:.9f},complete,stop,200,,,,"
            f"{behind / 2:.9f},{n + 1},0,{n},{2 if pauses else 0},,1,,,,,stream,{n + 2},,0,{4 * n},,{20 + n},"
            "Python/3.11 aiohttp/3.14.5,\n"
        )
        yield line, f"{name}:{counts[name]},{gap_at:.9f},{gap_at + gap:.9f},6,1\n" if gap >= MIN_RECORDED_GAP_S else ""


def _users(run: Path, end: float, rate: float) -> None:
    lines = [",".join(columns(UserRow))]
    lines += [f"{second}.5,{USERS},{USERS},running,{rate}" for second in range(int(end))]
    (run / "users.csv").write_text("\n".join([*lines, f"{end + 1:.3f},{USERS},{USERS},stopping,0.0", ""]))


def _server(run: Path, end: float, rate: float, done: Floats) -> None:
    """Write a sample of all quantities every POLL_S seconds."""
    lines = [",".join(columns(ServerRow))]
    for n in range(int(end / POLL_S)):
        ended, tokens = done[n].tolist()
        grown = {"prompt_tokens": tokens + 20 * ended, "generation_tokens": tokens, "requests_finished": ended,
                 "prefix_queries": tokens + 20 * ended, "prefix_hits": 0, "preemptions": 0}  # fmt: skip
        values = {"running": rate * 1.5, "waiting": 0.0, "kv_usage": 0.2 + 0.01 * (n % 7), **grown}
        lines += [f"{n * POLL_S + 0.3:.9f},{URL},0,{name},{float(value)},0.004" for name, value in values.items()]
    (run / "server.csv").write_text("\n".join([*lines, ""]))


def _sketches(run: Path, end: float, rate: float, rng: np.random.Generator) -> None:
    """Write the sketches of each window; 60 gaps of each window represent all, to keep this fast."""
    book, master = WindowSketches(), MergedWindows()
    for start in range(0, int(end), WINDOW_S):
        for second in range(start, start + WINDOW_S):
            book.count("tokens", second, int(81 * rate))
        gaps = (0.018 * rng.lognormal(0, 0.2, 60)).tolist()
        book.add("gap", start, gaps)
        book.add("itl", start, gaps)
        book.add("ttft", start, (0.08 * rng.lognormal(0, 0.4, 20)).tolist())
        book.add("lag", start, [0.0002] * 10)
    master.merge(WORKERS[0], book.take_changes())
    with (run / "sketches.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in master.records())


def _locust(run: Path, replies: int, failed: int, end: float) -> None:
    head = "Type,Name,Request Count,Failure Count,Median Response Time"
    stats = [head, f"LLM,chat,{replies},{failed},900", f",Aggregated,{replies},{failed},900"]
    (run / "locust_stats.csv").write_text("\n".join(stats) + "\n", encoding="utf-8")
    history = ["Timestamp,User Count,Type,Name,Requests/s,Failures/s"]
    history += [
        f"{STARTED_UNIX + second:.0f},{USERS},,Aggregated,{replies / end:.1f},0.0" for second in range(int(end))
    ]
    (run / "locust_stats_history.csv").write_text("\n".join(history) + "\n", encoding="utf-8")


def _manifest(end: float, rate: float, counts: dict[str, int]) -> dict[str, object]:
    kinds = [{"name": name, "share": share, "users": None} for name, share in zip(KINDS, (2 / 3, 1 / 3), strict=True)]
    return {
        "schema": manifest.SCHEMA,
        "run_id": "20260102T030405Z-gauntlet",
        "scenario": "gauntlet",
        "locustfile": "gauntlet.py",
        "started_at": "2026-01-02T03:04:05Z",
        "started_unix": STARTED_UNIX,
        "ended_at": "2026-01-03T03:04:05Z",
        "duration": end + 2,
        "end_reason": "levels_done",
        "versions": {"probe_ext": "0.1.0", "locust": "2.47.0", "python": "3.11.7", "platform": "Linux"},
        "target": {"host": URL, "model": "stated-model", "model_from": "server", "tls_verified": None},
        "options": {"rate": [rate], "hold": end, "settle": 5.0, "min_replies": 3, "slo": "chat"},
        "plan": {"levels": [], "hold": end, "settle": 5.0, "min_replies": 3, "rates": [rate], "search": None},
        "workload": {"name": "gauntlet", "kinds": kinds},
        "arrivals": {"form": "poisson", "seed": SEED, "give_up": 10.0, "ended": end,
                     "segments": [{"rate": rate, "from": 0.0, "workers": WORKERS}]},
        "workers": [{"id": name, "host": "vm", "version": "0.1.0", "clock_offset": 0.0, "clock_error": 0.0001,
                     "started": rows, "rows": rows, "last_word": True, "lost_at": None, "cpu_seconds": 60.0,
                     "loop_lag_max": 0.002, "receive_stamps": "kernel"} for name, rows in counts.items()],
        "server": [{"url": URL, "kind": "vllm", "version": "0.32.0", "models": ["stated-model"],
                    "max_model_len": 8192, "cache": {"num_gpu_blocks": 322265, "block_size": 16}, "metrics": "ok"}],
        "prompts": {"seed": 0, "input_tokens": 20, "counted_by": "tokenize", "shared_prefix_tokens": 0},
        "findings": [],
    }  # fmt: skip
