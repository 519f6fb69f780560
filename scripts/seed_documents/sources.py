"""Our figures by name, from the committed files that `make seeds`, `make gauntlet` and the others write."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probe_ext.sim.profile import load_profile
from scripts.seed_comparisons.measure import SERVERS

REPORTS = Path(__file__).parents[2] / "reports"
ENOUGH_SERVED = 0.95
REVIEW_TOKENS = 306
"""of the one code review that a text timed"""
PRICES = {"rtx4090": 1600.0, "a6000": 4000.0}
"""in dollars, as one text has them"""
Json = Any


def our_figures() -> dict[str, float | None]:
    """Return all figures that a cell may name."""
    found: dict[str, float | None] = {}
    for key in ("001-batching", "002-quantization", "004-max-num-seqs"):
        found |= _comparison(key)
    found |= _extra(_read("seeds/documents.json"))
    found |= _coding(_read("coding/coding.json"))
    found |= _gauntlet(_read("gauntlet/gauntlet.json"))
    found |= _two_prompts() | _profiles() | _caching(_read("seeds/seeds.json"))
    return found | _derived(found)


def _read(name: str) -> Json:
    return json.loads((REPORTS / name).read_text(encoding="utf-8"))


def _comparison(key: str) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    levels = _read(f"seeds/comparisons/{key}/figures.json")
    for server, own in levels.items():
        found |= _levels(f"{key}/{server}", own)
        found[f"{key}/{server}/most"] = max(level["total_tokens_per_s"] or 0.0 for level in own)
        first, *_ = own
        for level in own:
            found[f"{key}/{server}/{level['users']}/slower"] = _seconds(level) / _seconds(first)
    for set_up in _read(f"seeds/comparisons/{key}/compare.json")["set_ups"]:
        found[f"{key}/{set_up['name']}/served"] = set_up["served_users"]
        found[f"{key}/{set_up['name']}/served_at_most"] = (set_up["interval"] or [None, None])[1]
    return found


def _levels(name: str, levels: list[Mapping[str, Any]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for level in levels:
        found[f"{name}/{level['users']}/total"] = level["total_tokens_per_s"]
        found[f"{name}/{level['users']}/each"] = level["decode_rate_p50"]
    return found


def _seconds(level: Mapping[str, Any]) -> float:
    return float(level["ttft_p50"] + (level["tokens_out_p50"] - 1) / level["decode_rate_p50"])


def _extra(runs: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, levels in runs.items():
        found |= _levels(name, levels)
    return found


def _coding(coding: Json) -> dict[str, float | None]:
    found = {f"coding/{task}/each": one["tokens_per_s"] for task, one in coding["alone"].items()}
    found |= {f"coding/{task}/seconds": one["seconds"] for task, one in coding["alone"].items()}
    for one in coding["prompts"]:
        found |= {f"coding/prompt/{one['tokens']}-{one['shared']}/{name}": one[name] for name in ("mean", "min")}
    rates = [one["tokens_per_s"] for one in coding["alone"].values()]
    mean = sum(rates) / len(rates)
    found |= {"coding/mean": mean, "coding/between": coding["between_tasks"], "coding/cost": coding["price"] / mean}
    review = coding["alone"]["review"]
    found["coding/review/306"] = review["ttft_p50"] + (REVIEW_TOKENS - 1) / review["tokens_per_s"]
    two = coding["two"]
    found |= {"coding/two/each": two["decode_rate_p50"], "coding/two/total": two["total_tokens_per_s"]}
    return found | {"coding/two/seconds": two["seconds"], "coding/developers": _developers(coding)}


def _developers(coding: Json) -> float | None:
    """Return the largest number of users at which 95 % of each kind's replies were served; None without one.

    It is not proven by that.
    """
    good = [
        level["users"]
        for run in (coding["sweep"], coding["team"])
        for level in run["levels"]
        if min(_kind_shares(run, level["users"])) >= ENOUGH_SERVED
    ]
    return max(good, default=None)


def _kind_shares(run: Json, users: int) -> list[float]:
    return [level["served_share"] for kind in run["kinds"] for level in kind["levels"] if level["users"] == users]


def _gauntlet(gauntlet: Json) -> dict[str, float | None]:
    cold, outages = gauntlet["cold"], gauntlet["hung"]["outages"]
    worst = max((one["worst_share"] for one in outages), default=None)
    return {
        "gauntlet/cold": cold["slowest_reply"],
        "gauntlet/all_cold": cold["seconds"],
        "gauntlet/warm": cold["warm_ttft"],
        "gauntlet/times": cold["slowest_reply"] / cold["warm_ttft"],
        "gauntlet/waiting": worst,
        "gauntlet/even": gauntlet["outage"] / gauntlet["window"],
    }


def _two_prompts() -> dict[str, float | None]:
    text = (REPORTS / "tap" / "two-prompts.md").read_text(encoding="utf-8")
    patterns = {
        "tap/cache": r"`--cache` \| [\d.,]+ \| ([\d.]+) ×",
        "tap/tuning": r"`--max-num-seqs 256` \| [\d.,]+ \| ([\d.]+) ×",
        "tap/prompts": r"requests for text: (\d+) distinct prompts",
        "tap/tokens": r"(\d+) tokens needed, 8,192 allowed",
        "tap/hit_ms": r"from the tap's cache +[\d,]+ +[\d.]+ ms +([\d.]+) ms",
    }
    found: dict[str, float | None] = {}
    for name, pattern in patterns.items():
        match = re.search(pattern, text)
        if match is None:
            raise ValueError(f"reports/tap/two-prompts.md: nothing matches {pattern}")
        found[name] = float(match[1])
    return found


def _profiles() -> dict[str, float | None]:
    """Return what follows from a profile's shape without a run."""
    card = load_profile("rtx5060ti-qwen2.5-7b-awq")
    left = {
        f"left/{name}": load_profile(str(SERVERS / f"{name}.yaml")).kv_bytes / 1e9 for name in ("a100-fp8", "a100-awq")
    }
    return {f"pool/{card.name}": card.num_gpu_blocks * card.block_size, **left}


def _caching(seeds: Json) -> dict[str, float | None]:
    """Return by how much a shared beginning shortens the wait, on the card of another text."""
    p50 = {
        run["table"]: run["figures"]["ttft_p50"]
        for run in seeds["runs"]
        if run["table"].startswith("caching") and "qwen" in run["model"]
    }
    return {"caching/saved": 1 - p50["caching-warm"] / p50["caching-cold"]}


def _derived(found: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return figures that follow from two others."""
    spark = "004-max-num-seqs/max-num-seqs"

    def ratio(over: str, under: str) -> float | None:
        a, b = found[over], found[under]
        return a / b if a is not None and b else None

    more, less = found["left/a100-awq"], found["left/a100-fp8"]
    tuning = found["tap/tuning"]
    return {
        "left/more": None if more is None or less is None else more - less,
        "tap/tuning_gain": None if not tuning else max(tuning, 1 / tuning),
        "awq_over_fp16": ratio("001-batching/Predicted from the card/1/each", "rtx4090-fp16/1/each"),
        "awq_over_fp16/many": ratio("rtx4090/128/total", "rtx4090-fp16/128/total"),
        "awq_over_fp8": ratio("002-quantization/AWQ/most", "002-quantization/FP8/most"),
        "gptq_over_fp8": ratio("gptq-512/512/total", "002-quantization/FP8/most"),
        "times/rtx4090": ratio("rtx4090-fp16/128/total", "coding/mean"),
        "times/a6000": ratio("a6000-fp16/64/total", "coding/mean"),
        **_costs(found),
        "spark/slower": ratio(f"{spark} 64/64/each", f"{spark} 8/8/each"),
        **{
            f"spark/{a}-{b}": ratio(f"{spark} {b}/served", f"{spark} {a}/served")
            for a, b in ((8, 16), (16, 32), (32, 64))
        },
    }


def _costs(found: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return dollars per token/s of the larger cards with many users."""
    rates = {"rtx4090": found["rtx4090-fp16/128/total"], "a6000": found["a6000-fp16/64/total"]}
    costs = {f"cost/{card}": PRICES[card] / rate if rate else None for card, rate in rates.items()}
    one, many = found["coding/cost"], costs["cost/rtx4090"]
    return costs | {"cost/times": one / many if one and many else None}
