"""Recorded runs of vLLM as evidence: each user sends the next request when the answer is complete."""

import json
from pathlib import Path

from worlds import evidence, manifest, reply, staircase, worker

from probe_ext.measure.table_rows import ReplyRow, ServerRow
from probe_ext.verdict.values.evidence import Evidence

HERE = Path(__file__).parent / "recorded"


def recorded(name: str, users: int, seconds: int) -> Evidence:
    """Return a run with one level, without settling time: all of it counts."""
    told = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    rows = [
        _row(n % users, dict(zip(told["reply_columns"], one, strict=True))) for n, one in enumerate(told["replies"])
    ]
    server = [
        ServerRow(sample[0], "u", "0", quantity, float(value))
        for sample in told["samples"]
        for quantity, value in zip(told["sample_columns"][1:], sample[1:], strict=True)
    ]
    plan = {"levels": [users], "hold": float(seconds), "settle": 0.0, "min_replies": 1}
    stated = manifest(plan=plan, workers=[worker(started=len(rows))])

    return evidence(rows, staircase((users, seconds)), server=server, manifest=stated, windows=[])


def _row(user: int, said: dict[str, float]) -> ReplyRow:
    tokens = int(said["tokens_out"])
    return reply(
        user, said["sent"], first=said["first"], last=said["last"], end=said["end"], headers=said["first"],
        tokens_in=int(said["tokens_in"]), tokens_cached=None, tokens_out=tokens, events=int(said["events"]),
        tpot=None, longest_gap=said["longest_gap"], gap_start=said["gap_start"], finish_reason="length",
    )  # fmt: skip
