"""The article's figures from a run's own files, taken back to the card's time. Seconds, tokens/s, fractions, counts."""

import csv
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from probe_ext.measure.table_rows import WARM_UP
from scripts.seeds.virtual import quantile

Row = dict[str, str]
Figures = dict[str, float | None]


def figures(run: Path, speed: float) -> Figures:
    """All that can be said of a run; rows of a warm-up are left out."""
    replies = [row for row in _rows(run / "requests.csv") if row["scenario"] != WARM_UP]
    bad = [row["outcome"] for row in replies if row["outcome"] != "complete"]
    if bad or not replies:
        raise RuntimeError(
            f"{run}: {len(replies)} replies, {len(bad)} of them not whole ({', '.join(sorted(set(bad)))})"
        )
    server = _rows(run / "server.csv")
    return {**_seen(replies, speed), **_told(server, max(float(row["first"]) for row in replies)), **_report(run)}


def _seen(replies: list[Row], speed: float) -> Figures:
    sent, first, last = ([float(row[mark]) for row in replies] for mark in ("sent", "first", "last"))
    waits = [(b - a) * speed for a, b in zip(sent, first, strict=True)]
    rates = [1 / float(row["tpot"]) / speed for row in replies if row["tpot"]]
    tokens = sum(int(row["tokens_out"]) for row in replies)
    return {
        "requests": len(replies),
        "ttft_mean": fmean(waits),
        "ttft_p50": quantile(waits, 0.5),
        "ttft_p95": quantile(waits, 0.95),
        "total_time_mean": fmean((float(row["end"]) - float(row["sent"])) * speed for row in replies),
        "decode_rate": quantile(rates, 0.5) if rates else None,
        "decode_rate_mean": fmean(rates) if rates else None,
        "total_tokens_per_s": tokens / (max(last) - min(sent)) / speed,
        "longest_gap": max(float(row["longest_gap"] or 0) for row in replies) * speed,
        "asked_within": (max(sent) - min(sent)) * speed,
    }


def _told(server: list[Row], everyone_heard: float) -> Figures:
    """What the server said of itself; the queue only once everybody had a first word, not while all knock at once."""
    samples: dict[str, list[tuple[float, float]]] = {}
    for row in server:
        samples.setdefault(row["quantity"], []).append((float(row["t"]), float(row["value"])))
    values = {name: [value for _, value in of] for name, of in samples.items()}
    waiting = [value for t, value in samples.get("waiting", []) if t >= everyone_heard]
    queries = _rise(values.get("prefix_queries"))
    hits = _rise(values.get("prefix_hits"))
    return {
        "kv_usage_max": max(values["kv_usage"]) if "kv_usage" in values else None,
        "preemptions": _rise(values.get("preemptions")),
        "waiting_max": max(waiting, default=0.0),
        "hit_rate": hits / queries if queries and hits is not None else None,
    }


def _rise(values: list[float] | None) -> float | None:
    return values[-1] - values[0] if values else None


def _report(run: Path) -> Figures:
    """What the run's warm-up cost and what its verdict says of the cold user, where there is any."""
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    found: Figures = {}
    if manifest["warm_up"]:
        found = {f"warm_up_{key}": manifest["warm_up"][key] for key in ("most", "seconds", "slowest_reply")}
    if (run / "capacity.json").exists():
        cold: dict[str, Any] = json.loads((run / "capacity.json").read_text(encoding="utf-8"))["cold_user"]
        keys = ("cold_p50", "warm_p50", "ratio", "ratio_low", "ratio_high", "cold_cached", "warm_cached")
        found |= {f"judged_{key}": cold.get(key) for key in keys}
    return found


def _rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
