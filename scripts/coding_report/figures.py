"""What the report needs of each run: from its rows, and from what `probe` made of them. Seconds, tokens/s, dollars."""

import csv
import json
from pathlib import Path
from statistics import fmean, median
from typing import Any

from probe_ext.measure.table_rows import WARM_UP
from scripts.coding_report.runs import PRICE, PROMPTS, SWEEP, TASKS, TEAM
from scripts.seeds.virtual import quantile

Json = dict[str, Any]
_LEVEL = ("users", "state", "served_share", "first_word_p95", "decode_rate_p05", "longest_gap_p95", "ttft_p50",
          "decode_rate_p50", "total_tokens_per_s")  # fmt: skip
_KIND = ("name", "share", "profile", "replies", "served_users", "interval", "breaks_first", "levels")


def all_figures(scratch: Path) -> Json:
    """Return everything, from the run directories below `scratch`."""
    alone = {task: _alone(scratch / f"alone-{task}") for task in TASKS}
    rates = [figures["tokens_per_s"] for figures in alone.values()]
    return {
        "price": PRICE,
        "alone": alone,
        "between_tasks": round((max(rates) - min(rates)) / 2 / fmean(rates), 5),
        "prompts": [_prompt(scratch / f"prompt-{tokens}-{shared}", tokens, shared) for tokens, shared in PROMPTS],
        "two": _two(scratch / "two"),
        "sweep": _team(scratch / SWEEP),
        "team": _team(scratch / TEAM),
    }


def _alone(run: Path) -> Json:
    rows = _rows(run)
    rates = [1 / float(row["tpot"]) for row in rows]
    level = _capacity(run)["levels"][0]
    return {
        "tokens": median(int(row["tokens_out"]) for row in rows),
        "prompt": median(int(row["tokens_in"]) for row in rows),
        "replies": len(rows),
        "tokens_per_s": round(fmean(rates), 3),
        "spread": round((quantile(rates, 0.95) - quantile(rates, 0.05)) / 2 / fmean(rates), 5),
        "seconds": round(median(float(row["end"]) - float(row["sent"]) for row in rows), 3),
        **{name: level[name] for name in _LEVEL},
    }


def _prompt(run: Path, tokens: int, shared: int) -> Json:
    rows = _rows(run)
    waits = [float(row["first"]) - float(row["sent"]) for row in rows]
    return {
        "tokens": tokens,
        "shared": shared,
        "cached": median(int(row["tokens_cached"] or 0) for row in rows),
        "mean": round(fmean(waits), 5),
        "min": round(min(waits), 5),
        "p50": round(median(waits), 5),
        "p95": round(quantile(waits, 0.95), 5),
    }


def _two(run: Path) -> Json:
    rows = [row for row in _rows(run) if row["outcome"] == "complete"]
    level = _capacity(run)["levels"][0]
    return {
        "seconds": round(median(float(row["end"]) - float(row["sent"]) for row in rows), 3),
        **{name: level[name] for name in _LEVEL},
    }


def _team(run: Path) -> Json:
    capacity = _capacity(run)
    kept = ("sentence", "served_users", "interval", "bracket", "breaks_first", "think_time", "cost")
    return {
        **{name: capacity[name] for name in kept},
        "levels": [
            {"seconds": round(level["t_end"] - level["t_start"]), **{name: level[name] for name in _LEVEL}}
            for level in capacity["levels"]
        ],
        "kinds": [{name: kind[name] for name in _KIND} for kind in capacity["kinds"]],
        "diagnosis": capacity["diagnosis"]["sentence"],
    }


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "requests.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["scenario"] != WARM_UP]


def _capacity(run: Path) -> Json:
    found: Json = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    return found
