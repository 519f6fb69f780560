"""Measure the servers of a comparison one after another, and compare their runs: `probe` itself, in processes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.seed_comparisons.published import SeedComparison, Server

SERVERS = Path(__file__).with_name("servers")
RUNS = Path("runs")
RUN_TIMEOUT_S = 1800.0
MACHINES = "machines.yaml"
PROBE = (sys.executable, "-m", "probe_ext")
LEVEL_FIGURES = ("users", "state", "total_tokens_per_s", "decode_rate_p50", "ttft_p50", "ttft_p95", "tokens_out_p50")
Json = dict[str, Any]


def measure(comparison: SeedComparison, scratch: Path) -> None:
    """Make the runs that are missing below `scratch`. RuntimeError if one can't be made."""
    for server in comparison.servers:
        run = scratch / run_of(comparison, server)
        if not (run / "capacity.json").exists():
            _run(comparison, server, run)


def _run(comparison: SeedComparison, server: Server, run: Path) -> None:
    serve = [*PROBE, *simulator(server), "--port", "0"]
    process = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    try:
        host = (process.stdout.readline() if process.stdout else "").rpartition(" ")[2].strip()
        _call([*PROBE, *load_test(comparison), "--host", host, "--out", str(run), "--force"])
    finally:
        process.terminate()
        process.wait()


def simulator(server: Server) -> list[str]:
    """Return the arguments of `probe` that start a set-up's server."""
    return ["sim", "--profile", str(SERVERS / f"{server.profile}.yaml"), "--personality", server.personality]


def load_test(comparison: SeedComparison) -> list[str]:
    """Return the arguments of `probe` that make this comparison's load, without the host."""
    prompt, reply = comparison.tokens
    levels = ",".join(map(str, comparison.levels))
    lengths = ["--input-tokens", str(prompt), "--max-tokens", str(reply), "--ignore-eos"]
    return ["run", "capacity", "--levels", levels, "--hold", comparison.hold, *lengths, "--warm-up", "off"]


def run_of(comparison: SeedComparison, server: Server) -> Path:
    """Return where a server's run is, below the folder that the commands are called in."""
    return RUNS / comparison.key / server.name.lower().replace(" ", "-")


def compare(comparison: SeedComparison, scratch: Path, out: Path) -> None:
    """Write comparison and plan into `out`. RuntimeError if one can't be made."""
    _call([*PROBE, *comparing(comparison), "--out", str(out)], scratch)
    if comparison.people is not None:
        lines = [f"- name: {one.name}\n  price_per_hour: {one.price_per_hour or 1:.6f}\n" for one in comparison.servers]
        (scratch / MACHINES).write_text("".join(lines), encoding="utf-8")
        _call([*PROBE, *planning(comparison), "--out", str(out / "plan")], scratch)


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


def _call(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr[-2000:]}")
