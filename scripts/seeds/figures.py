"""Compute the article's figures from a run directory, converted back to the card's speed.

Units: seconds, tokens/s, fractions, counts.
"""

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
    """Return all figures of a run, without its warm-up. Raises RuntimeError if a reply is incomplete."""
    replies = [row for row in _rows(run / "requests.csv") if row["scenario"] != WARM_UP]
    incomplete = [row["outcome"] for row in replies if row["outcome"] != "complete"]
    if incomplete or not replies:
        raise RuntimeError(
            f"{run}: {len(replies)} replies, {len(incomplete)} incomplete ({', '.join(sorted(set(incomplete)))})"
        )
    server = _rows(run / "server.csv")
    return {
        **_client_figures(replies, speed),
        **_server_figures(server, max(float(row["first"]) for row in replies)),
        **_report_figures(run),
    }


def _client_figures(replies: list[Row], speed: float) -> Figures:
    sent, first, last = ([float(row[mark]) for row in replies] for mark in ("sent", "first", "last"))
    ttfts = [(b - a) * speed for a, b in zip(sent, first, strict=True)]
    rates = [1 / float(row["tpot"]) / speed for row in replies if row["tpot"]]
    tokens = sum(int(row["tokens_out"]) for row in replies)
    return {
        "requests": len(replies),
        "ttft_mean": fmean(ttfts),
        "ttft_p50": quantile(ttfts, 0.5),
        "ttft_p95": quantile(ttfts, 0.95),
        "total_time_mean": fmean((float(row["end"]) - float(row["sent"])) * speed for row in replies),
        "decode_rate": quantile(rates, 0.5) if rates else None,
        "decode_rate_mean": fmean(rates) if rates else None,
        "total_tokens_per_s": tokens / (max(last) - min(sent)) / speed,
        "longest_gap": max(float(row["longest_gap"] or 0) for row in replies) * speed,
        "asked_within": (max(sent) - min(sent)) * speed,
    }


def _server_figures(server: list[Row], all_started: float) -> Figures:
    """Figures from the server's metrics; the queue only after every first token, not while all users arrive at once."""
    samples: dict[str, list[tuple[float, float]]] = {}
    for row in server:
        samples.setdefault(row["quantity"], []).append((float(row["t"]), float(row["value"])))
    values = {name: [value for _, value in series] for name, series in samples.items()}
    waiting = [value for t, value in samples.get("waiting", []) if t >= all_started]
    queries = _increase(values.get("prefix_queries"))
    hits = _increase(values.get("prefix_hits"))
    return {
        "kv_usage_max": max(values["kv_usage"]) if "kv_usage" in values else None,
        "preemptions": _increase(values.get("preemptions")),
        "waiting_max": max(waiting, default=0.0),
        "hit_rate": hits / queries if queries and hits is not None else None,
    }


def _increase(values: list[float] | None) -> float | None:
    return values[-1] - values[0] if values else None


def _report_figures(run: Path) -> Figures:
    """The cost of the run's warm-up and the report's verdict on cold users, if any."""
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    result: Figures = {}
    if manifest["warm_up"]:
        result = {f"warm_up_{key}": manifest["warm_up"][key] for key in ("most", "seconds", "slowest_reply")}
    if (run / "capacity.json").exists():
        cold: dict[str, Any] = json.loads((run / "capacity.json").read_text(encoding="utf-8"))["cold_user"]
        keys = ("cold_p50", "warm_p50", "ratio", "ratio_low", "ratio_high", "cold_cached", "warm_cached")
        result |= {f"judged_{key}": cold.get(key) for key in keys}
    return result


def _rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
