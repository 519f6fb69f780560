"""Build a run directory from a small model, through the writers of a live run.

The model: levels of 1, 2, 4 and 8 users, 40 s each. A user sends a request, waits `0.05 s × users` for the first word,
receives 80 tokens at `60 / (1 + 0.1 × users)` tokens/s, thinks for 0.2 s and sends the next one. At 8 users
the KV cache is full and every second reply is preempted for 4 s in its middle. So 4 users are served and 8 are not, and
silence is the first limit.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow, UserRow
from probe_ext.measure.window_sketches import MergedWindows, WindowSketches
from probe_ext.run import manifest, tables

LEVELS = (1, 2, 4, 8)
HOLD = 40.0
TOKENS = 80
THINK = 0.2
PAUSE = 4.0
STARTED = 1767323045.0
"""Unix seconds of the run's zero"""
WORKERS = ("w1", "w2")
URL = "http://127.0.0.1:8000"


def reply(number: int, user: int, due: float, users: int, hold: float = 0.0) -> ReplyRow:
    """Return a complete reply with `hold` seconds of silence in its middle."""
    worker = WORKERS[user % len(WORKERS)]
    first = due + 0.05 * users
    tpot = (1 + 0.1 * users) / 60
    last = first + (TOKENS - 1) * tpot + hold
    middle = first + TOKENS // 2 * tpot
    return ReplyRow(
        reply_id=f"{worker}:{number}",
        worker=worker,
        user=f"{worker}:{user}",
        scenario="capacity",
        kind="chat",
        streamed=True,
        due=due,
        late=0.0,
        sent=due + 0.001,
        headers=first - 0.002,
        first=first,
        first_visible=first,
        last=last,
        end=last + 0.001,
        tokens_in=200,
        tokens_cached=0,
        tokens_out=TOKENS,
        tokens_from="usage",
        tokens_first=1,
        tokens_visible=TOKENS,
        events=TOKENS,
        events_visible=TOKENS,
        choices=1,
        tpot=(last - first) / (TOKENS - 1),
        tpot_visible=(last - first) / (TOKENS - 1),
        longest_gap=hold or tpot,
        gap_start=middle,
        longest_gap_visible=hold or tpot,
        outcome="complete",
        finish_reason="stop",
        status=200,
        message=None,
        connect=0.0004 if number < 8 else None,
        tls=None,
        lag_max=0.0002,
        reads=TOKENS + 1,
        reads_unresolved=0,
    )


def replies() -> Iterator[tuple[ReplyRow, float]]:
    """Yield all replies in order of users, each with its hold."""
    number = 0
    end = HOLD * len(LEVELS)
    for user in range(max(LEVELS)):
        due = next(HOLD * i for i, users in enumerate(LEVELS) if users > user) + 0.01 * user
        while due < end:
            users = LEVELS[int(due // HOLD)]
            hold = PAUSE if users == max(LEVELS) and number % 2 else 0.0
            row = reply(number, user, due, users, hold)
            if row.end > end:
                row, hold = cut(row, end), 0.0
            yield row, hold
            number += 1
            due = row.end + THINK


def cut(row: ReplyRow, end: float) -> ReplyRow:
    """Return the same reply, aborted at `end`."""
    first = row.first if row.first is not None and row.first < end else None
    last = None if first is None else end
    row = replace(row, outcome="ended_by_us", finish_reason=None, end=end, first=first, first_visible=first, last=last)
    row = replace(row, tokens_out=None, tokens_visible=None, tpot=None, tpot_visible=None, longest_gap=None)
    return replace(row, longest_gap_visible=None, gap_start=None, tokens_from=None, tokens_first=None)


def user_rows() -> Iterator[UserRow]:
    """Yield the number of users once a second."""
    for second in range(int(HOLD * len(LEVELS)) + 1):
        users = LEVELS[min(int(second // HOLD), len(LEVELS) - 1)]
        yield UserRow(float(second), users, users, "running")


def server_rows() -> Iterator[ServerRow]:
    """Yield server metrics once a second."""
    preempted = 0
    ends = [row.end for row, _ in replies() if row.outcome == "complete"]
    for second in range(int(HOLD * len(LEVELS)) + 1):
        users = LEVELS[min(int(second // HOLD), len(LEVELS) - 1)]
        full = users == max(LEVELS)
        preempted += 1 if full and second % 4 == 0 else 0
        values = {
            "running": users - (2 if full else 0),
            "waiting": 2 if full else 0,
            "kv_usage": min(1.0, 0.15 * users),
            "preemptions": preempted,
            "generation_tokens": TOKENS * sum(end <= second for end in ends),
        }
        yield from (ServerRow(second + 0.3, URL, "all", quantity, float(value)) for quantity, value in values.items())


def manifest_of(**changes: Any) -> dict[str, Any]:
    """Return the manifest of the run."""
    seconds = HOLD * len(LEVELS)
    rows = [row for row, _ in replies()]
    return {
        "schema": manifest.SCHEMA,
        "run_id": "20260102T030405Z-capacity",
        "scenario": "capacity",
        "locustfile": "capacity.py",
        "started_at": "2026-01-02T03:04:05Z",
        "started_unix": STARTED,
        "ended_at": "2026-01-02T03:06:45Z",
        "duration": seconds,
        "end_reason": "levels_done",
        "versions": {
            "probe_ext": "0.1.0",
            "locust": "2.47.0",
            "gevent": "25.1",
            "python": "3.11.7",
            "platform": "Linux",
        },
        "target": {"host": URL, "model": "tiny-llama", "model_from": "server", "tls_verified": None},
        "options": {
            "levels": "1,2,4,8",
            "hold": HOLD,
            "settle": 5.0,
            "min_replies": 3,
            "slo": "chat",
            "max_tokens": 40,
        },
        "plan": {"levels": list(LEVELS), "hold": HOLD, "settle": 5.0, "min_replies": 3},
        "workers": [_worker(name, sum(row.worker == name for row in rows), seconds) for name in WORKERS],
        "server": [
            {
                "url": URL,
                "kind": "vllm",
                "version": "0.32.0",
                "models": ["tiny-llama"],
                "max_model_len": 4096,
                "cache": {"num_gpu_blocks": 33, "block_size": 16},
                "metrics": "ok",
            }
        ],
        "prompts": {"seed": 0, "input_tokens": 200, "counted_by": "tokenize", "shared_prefix_tokens": 0},
        "findings": [],
    } | changes


def _worker(name: str, rows: int, seconds: float) -> dict[str, Any]:
    return {
        "id": name,
        "host": "box",
        "version": "0.1.0",
        "clock_offset": 0.0,
        "clock_error": 0.0001,
        "started": rows,
        "rows": rows,
        "last_word": seconds,
        "lost_at": None,
        "left_at": None,
        "cpu_seconds": 3.0,
        "loop_lag_max": 0.002,
        "receive_stamps": True,
    }


def build(run: Path, **manifest_changes: Any) -> Path:
    """Write the whole run directory and return it."""
    run.mkdir(parents=True, exist_ok=True)
    manifest.write(run, manifest_of(**manifest_changes))
    made = list(replies())
    gap_rows = [(r.worker, _gap(r, hold)) for r, hold in made if hold]
    _write(run / "requests.csv", ReplyRow, [row for row, _ in made])
    _write(run / "gaps.csv", GapRow, [gap for _, gap in gap_rows])
    for name in WORKERS:
        _write(run / f"requests-{name}.csv", ReplyRow, [row for row, _ in made if row.worker == name])
        _write(run / f"gaps-{name}.csv", GapRow, [gap for worker, gap in gap_rows if worker == name])
    _write(run / "users.csv", UserRow, list(user_rows()))
    _write(run / "server.csv", ServerRow, list(server_rows()))
    _write_sketches(run, made)
    finished = sum(row.outcome != "ended_by_us" for row, _ in made)
    write_locust(run, finished, 0)
    return run


def write_locust(run: Path, requests: int, failures: int) -> None:
    """Write Locust's statistics, with the two rows that matter."""
    lines = ["Type,Name,Request Count,Failure Count,Median Response Time"]
    lines += [f"LLM,chat,{requests},{failures},900", f",Aggregated,{requests},{failures},900"]
    (run / "locust_stats.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    history = ["Timestamp,User Count,Type,Name,Requests/s,Failures/s"]
    history += [f"{STARTED + t:.0f},8,,Aggregated,{t / 10},0.0" for t in range(0, 160, 2)]
    history += [f"{STARTED + 1:.0f},8,LLM,chat,99.0,0.0", f"{STARTED - 50:.0f},8,,Aggregated,77.0,0.0"]
    (run / "locust_stats_history.csv").write_text("\n".join(history) + "\n", encoding="utf-8")


def _gap(row: ReplyRow, hold: float) -> GapRow:
    start = row.gap_start or 0.0
    return GapRow(row.reply_id, start, start + hold, TOKENS // 2)


def _write(path: Path, row_type: type, rows: list[Any]) -> None:
    writer = tables.TableWriter(path, row_type)
    writer.append(rows)
    writer.close()


def _write_sketches(run: Path, made: list[tuple[ReplyRow, float]]) -> None:
    master = MergedWindows()
    for name in WORKERS:
        book = WindowSketches()
        for row, hold in made:
            if row.worker == name and row.first is not None and row.last is not None and row.tpot is not None:
                _book(book, row, hold)
        master.merge(name, book.take_changes())
    text = "".join(json.dumps(line) + "\n" for line in master.records())
    (run / "sketches.jsonl").write_text(text, encoding="utf-8")


def _book(book: WindowSketches, row: ReplyRow, hold: float) -> None:
    first, last = row.first or 0.0, row.last or 0.0
    tpot = (last - first - hold) / (TOKENS - 1)
    for n in range(TOKENS):
        at = first + n * tpot + (hold if n > TOKENS // 2 else 0.0)
        book.count("tokens", at, 1)
        if n:
            book.add("gap", at, [tpot])
            book.add("itl", at, [tpot])
    book.add("ttft", first, [first - row.due])
    book.add("lag", first, [0.0002])
