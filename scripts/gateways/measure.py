"""Measure what arrives through a proxy: a load test against `probe sim`, and single replies from recordings."""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from probe_ext.client.exchange import Exchange, Limits
from probe_ext.client.reply import Reply
from probe_ext.client.wire.address import parse_target
from probe_ext.client.wire.connection import Connection
from probe_ext.measure import clock
from probe_ext.measure.table_rows import WARM_UP

PROBE = Path(sys.executable).with_name("probe")
_LOAD = ("--levels", "2", "--hold", "12s", "--max-tokens", "100", "--ignore-eos", "--input-tokens", "100")
_TIMEOUT_S = 300
CHECKS = ("not_streamed", "held_back", "held_in_events", "typing_known", "unresolved_reads", "usage", "prompt_lengths")
_RULES = ("buffered_stream", "response_cache", "cut_answers", "client_too_slow")


@dataclass(frozen=True)
class Arrival:
    """What arrived in one load test."""

    replies: int
    outcomes: str
    ttft_s: float | None
    typing: float | None
    """tokens per second, median"""
    per_segment: float | None
    """token events per TCP segment"""
    burst: float | None
    """median tokens at the end of the longest gap"""
    said: tuple[str, ...]
    """failed checks of delivery, and rules of the diagnosis that hold"""
    sentence: str


def load_test(port: int, out: Path) -> Arrival:
    """Run `probe run` with two users and read its run directory."""
    command = [str(PROBE), "run", "capacity", "--host", f"http://127.0.0.1:{port}", *_LOAD]
    log = subprocess.run(
        [*command, "--out", str(out), "--force"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    table = out / "requests.csv"
    if not table.exists():
        lines = (log.stderr.strip() or log.stdout.strip()).splitlines() or ["no output"]
        return Arrival(0, "the run did not start", None, None, None, None, (), lines[-1])
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["scenario"] != WARM_UP]
    capacity = json.loads((out / "capacity.json").read_text(encoding="utf-8"))
    failed = [one["check"] for one in capacity["findings"] if one["state"] == "fail" and one["check"] in CHECKS]
    rules = [rule for rule in capacity["diagnosis"]["bounds"] if rule in _RULES]
    counts = Counter(row["outcome"] for row in rows if row["outcome"] != "ended_by_us")
    whole = [row for row in rows if row["outcome"] == "complete"]
    return Arrival(
        replies=sum(counts.values()),
        outcomes=", ".join(f"{n} {name}" for name, n in counts.most_common()) or "none",
        ttft_s=_median([float(row["first"]) - float(row["sent"]) for row in whole if row["first"]]),
        typing=_median([1 / float(row["tpot"]) for row in whole if row["tpot"]]),
        per_segment=_median([int(row["events"]) / int(row["segments"]) for row in whole if int(row["segments"] or 0)]),
        burst=_median([float(row["gap_tokens"]) for row in whole if row["gap_tokens"]]),
        said=(*failed, *rules),
        sentence=capacity["sentence"],
    )


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def ask(port: int, name: str) -> Reply:
    """Request one recording and read the reply."""
    target = parse_target(f"http://127.0.0.1:{port}")
    connection = Connection(target, None)
    body = b'{"stream":true}'
    head = f"POST /{name} HTTP/1.1\r\nHost: {target.authority}\r\nAccept: text/event-stream\r\n"
    request = f"{head}Accept-Encoding: identity\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    limits = Limits(connect=5.0, first=30.0, gap=30.0, total=60.0)
    exchange = Exchange(connection, request, limits, due=clock.monotonic(), streamed=True, secret=None)
    try:
        exchange.run()
        return exchange.finish()
    finally:
        connection.close()
