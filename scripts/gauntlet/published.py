"""The report's figures, each with ours beside it, the command that makes ours, and whether it was fitted."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe_ext.verdict.phrasing import formats

REPORTS = Path(__file__).parents[2] / "reports"
QUANTIZATION = REPORTS / "seeds" / "comparisons" / "002-quantization" / "figures.json"
DOCUMENTS = REPORTS / "seeds" / "documents.json"
TWO_PROMPTS = REPORTS / "tap" / "two-prompts.md"
SET_UPS = (
    ("FP8", 1070, "fitted: `max_num_seqs`"),
    ("AWQ", 1211, "predicted"),
    ("GPTQ", 3114, "predicted"),
)
REPORTED_OUTAGE_S, REPORTED_WINDOW_S, REPORTED_SHARE = 300.0, 900.0, 0.21


@dataclass(frozen=True)
class Beside:
    """One figure of the report. Texts."""

    what: str
    published: str
    ours: str
    kind: str
    """`fitted: …`, `predicted` or `not followed`"""
    command: str


def published_beside(data: Mapping[str, Any]) -> list[Beside]:
    """Return all rows, from the files of the runs that made our figures."""
    return [*_throughput(), _warm_up(data["cold"]), _cache(), *_window(data), *_signs(data)]


def _throughput() -> list[Beside]:
    measured = json.loads(QUANTIZATION.read_text(encoding="utf-8"))
    most = {name: max(level["total_tokens_per_s"] or 0.0 for level in levels) for name, levels in measured.items()}
    command = "`python -m scripts.seed_comparisons --only 002`"
    rows = [
        Beside(
            f"most tokens/s with {name}, up to 256 people",
            formats.count(there),
            formats.count(round(most[name])),
            kind,
            command,
        )
        for name, there, kind in SET_UPS
    ]
    full = json.loads(DOCUMENTS.read_text(encoding="utf-8"))["gptq-512"][0]["total_tokens_per_s"]
    gain = full / most["FP8"] - 1
    return [
        *rows,
        Beside(
            "… GPTQ with 512 people",
            "3,114",
            formats.count(round(full)),
            "fitted: `sequence_overhead_s`",
            "`python -m scripts.seed_documents`",
        ),
        Beside("FP8 to GPTQ", "+191 %", f"+{formats.percent(gain)}", "follows from two of these", command),
    ]


def _warm_up(cold: Mapping[str, Any]) -> Beside:
    times = cold["slowest_reply"] / cold["warm_ttft"]
    ours = (
        f"{formats.seconds(cold['slowest_reply'])} → {formats.seconds(cold['warm_ttft'])}, {times:.0f} ×; all batch "
        f"sizes up to 64, one after another: {formats.seconds(cold['seconds'])}"
    )
    return Beside("TTFT, cold and warm", "89 s → 219 ms, 407 ×", ours, "fitted: `warmup_s`", f"`{cold['command']}`")


def _cache() -> Beside:
    found = re.search(r"`--cache` \| [\d.,]+ \| ([\d.]+) ×", TWO_PROMPTS.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{TWO_PROMPTS}: no row of the set-up with --cache")
    ours = f"{float(found[1]):.0f} × (how many replies per second Python gives on that machine)"
    return Beside("requests/s with a response cache", "50 ×", ours, "predicted", "`make tap-two-prompts`")


def _window(data: Mapping[str, Any]) -> list[Beside]:
    share = formats.percent(REPORTED_SHARE)
    switched, hung = (_worst(one["outages"]) for one in (data["arms"]["switched"], data["hung"]))
    even = formats.percent(REPORTED_OUTAGE_S / REPORTED_WINDOW_S)
    longer = data["hung"]["failed_seconds"] / data["hung"]["served_seconds"]
    waiting = (
        f"{formats.percent(hung)}, as a failing attempt takes {longer:.1f} times as long as a served one "
        f"(computed from that: {formats.percent(data['hung']['computed_share'])})"
    )
    rows = [
        Beside(
            "… users wait for replies, server hangs", share, waiting, "set: patience of twice a reply's time",
            "`python -m scripts.gauntlet --part hung`",
        ),
        Beside(
            "… open stream, server was overloaded", share, formats.percent(switched), "predicted",
            "`make gauntlet`, arm `switched`",
        ),
    ]  # fmt: skip
    rows += _soak(share)
    head = Beside(
        "failed requests, 5 min down in a window of 15", share, f"{even} at an even rate", "follows from the lengths",
        "`probe plan … --outage 5m`",
    )  # fmt: skip
    return [head, *rows]


def _soak(share: str) -> list[Beside]:
    """Show the same for the soak, whose server was not overloaded and whose window was longer."""
    file = REPORTS / "gauntlet" / "soak.json"
    if not file.exists():
        return []
    summary = json.loads(file.read_text(encoding="utf-8"))
    down = formats.span(60 * summary["plan"]["minutes"] / 24)
    what = f"… open stream, server was not overloaded, {down} in {formats.span(summary['window'])}"
    return [Beside(what, share, formats.percent(_worst(summary["outages"])), "predicted", "`make gauntlet-soak`")]


def _worst(outages: list[dict[str, Any]]) -> float | None:
    return max((one["worst_share"] for one in outages), default=None)


def _signs(data: Mapping[str, Any]) -> list[Beside]:
    """Show what gives away the two odd servers on the report's leaderboard."""
    told = {name: [sign["name"] for sign in arm["scout"]["signs"]] for name, arm in data["arms"].items()}
    rows = []
    for arm, there in (("response cache", "first place"), ("first token only", "0.46 of the memory, 661 KV blocks")):
        rank, ours = data["arms"][arm]["scout"]["rank"], "; ".join(told[arm]) or "no sign"
        rows.append(
            Beside(f"the leaderboard: {arm}", there, f"rank {rank}: {ours}", "predicted", "`probe scout … --watch`")
        )
    return rows
