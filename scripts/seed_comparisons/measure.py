"""Measure the servers of a comparison one after another, and compare their runs: `probe` itself, in processes."""

import json
from pathlib import Path
from typing import Any

from scripts.seed_comparisons.published import SeedComparison, Server
from scripts.simulated_run import call, simulated_run

SERVERS = Path(__file__).with_name("servers")
RUNS = Path("runs")
MACHINES = "machines.yaml"
LEVEL_FIGURES = ("users", "state", "total_tokens_per_s", "decode_rate_p50", "ttft_p50", "ttft_p95", "tokens_out_p50")
Json = dict[str, Any]


def measure(comparison: SeedComparison, scratch: Path) -> None:
    """Make the runs that are missing below `scratch`. RuntimeError if one can't be made."""
    for server in comparison.servers:
        run = scratch / run_of(comparison, server)
        if not (run / "capacity.json").exists():
            simulated_run(simulator(server), load_test(comparison), run)


def simulator(server: Server) -> list[str]:
    """Return the options of `probe sim` for a set-up's server."""
    return ["--profile", str(SERVERS / f"{server.profile}.yaml"), "--personality", server.personality]


def load_test(comparison: SeedComparison) -> list[str]:
    """Return the arguments of `probe run` that make this comparison's load, without the host."""
    prompt, reply = comparison.tokens
    levels = ",".join(map(str, comparison.levels))
    lengths = ["--input-tokens", str(prompt), "--max-tokens", str(reply), "--ignore-eos"]
    return ["capacity", "--levels", levels, "--hold", comparison.hold, *lengths, "--warm-up", "off"]


def run_of(comparison: SeedComparison, server: Server) -> Path:
    """Return where a server's run is, below the folder that the commands are called in."""
    return RUNS / comparison.key / server.name.lower().replace(" ", "-")


def compare(comparison: SeedComparison, scratch: Path, out: Path) -> None:
    """Write comparison and plan into `out`. RuntimeError if one can't be made."""
    call([*comparing(comparison), "--out", str(out)], scratch)
    if comparison.people is not None:
        lines = [f"- name: {one.name}\n  price_per_hour: {one.price_per_hour or 1:.6f}\n" for one in comparison.servers]
        (scratch / MACHINES).write_text("".join(lines), encoding="utf-8")
        call([*planning(comparison), "--out", str(out / "plan")], scratch)


def comparing(comparison: SeedComparison) -> list[str]:
    """Return the arguments of `probe` that compare the runs."""
    prices = [server.price_per_hour for server in comparison.servers]
    cost = ["--price-per-hour", ",".join(f"{price:.6f}" for price in prices if price)] if all(prices) else []
    return ["compare", *_named_runs(comparison), *cost]


def planning(comparison: SeedComparison) -> list[str]:
    """Return the arguments of `probe` that plan for the comparison's people."""
    return ["plan", *_named_runs(comparison), "--people", str(comparison.people), "--machines", MACHINES]


def _named_runs(comparison: SeedComparison) -> list[str]:
    return [f"{server.name}={run_of(comparison, server)}" for server in comparison.servers]


def level_figures(comparison: SeedComparison, scratch: Path) -> dict[str, list[Json]]:
    """Return by server what its report says of each level."""
    found = {}
    for server in comparison.servers:
        capacity = json.loads((scratch / run_of(comparison, server) / "capacity.json").read_text("utf-8"))
        found[server.name] = [{name: level[name] for name in LEVEL_FIGURES} for level in capacity["levels"]]
    return found
