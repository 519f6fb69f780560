"""Recorded runs of vLLM as evidence: each user sends the next request when the answer is complete."""

import json
from pathlib import Path

from worlds import evidence, manifest, reply, staircase, worker

from probe_ext.measure.table_rows import ReplyRow, ServerRow
from probe_ext.verdict.evidence.evidence import Evidence

HERE = Path(__file__).parent / "recorded"


def recorded(name: str, users: int, seconds: int) -> Evidence:
    """Return a run with one level, without settling time: all of it counts."""
    recording = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    rows = [
        _row(n % users, dict(zip(recording["reply_columns"], reply_values, strict=True)))
        for n, reply_values in enumerate(recording["replies"])
    ]
    server = [
        ServerRow(sample[0], "u", "0", quantity, float(value))
        for sample in recording["samples"]
        for quantity, value in zip(recording["sample_columns"][1:], sample[1:], strict=True)
    ]
    plan = {"levels": [users], "hold": float(seconds), "settle": 0.0, "min_replies": 1}
    stated = manifest(plan=plan, workers=[worker(started=len(rows))])

    return evidence(rows, staircase((users, seconds)), server=server, manifest=stated, windows=[])


def _row(user: int, values: dict[str, float]) -> ReplyRow:
    tokens = int(values["tokens_out"])
    return reply(
        user, values["sent"], first=values["first"], last=values["last"], end=values["end"], headers=values["first"],
        tokens_in=int(values["tokens_in"]), tokens_cached=None, tokens_out=tokens, events=int(values["events"]),
        tpot=None, longest_gap=values["longest_gap"], gap_start=values["gap_start"], finish_reason="length",
    )  # fmt: skip
