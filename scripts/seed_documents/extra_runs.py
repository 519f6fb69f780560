"""Runs that only this page needs: set-ups that a text mentions without a comparison of its own."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.seed_comparisons.measure import SERVERS
from scripts.simulated_run import simulated_run

_FIGURES = ("users", "state", "total_tokens_per_s", "decode_rate_p50", "ttft_p50")


@dataclass(frozen=True)
class ExtraRun:
    """One set-up under a few numbers of users."""

    profile: str
    """a file of `seed_comparisons/servers`, without ending"""
    levels: str
    tokens: tuple[int, int]
    """of a prompt and of a reply"""
    hold: str = "15s"
    personality: str = "vllm"

    @property
    def options(self) -> tuple[str, ...]:
        """Those of `probe run`."""
        prompt, reply = map(str, self.tokens)
        lengths = ("--input-tokens", prompt, "--max-tokens", reply, "--ignore-eos")
        return ("capacity", "--levels", self.levels, "--hold", self.hold, *lengths, "--warm-up", "off")

    @property
    def command(self) -> str:
        """The run, as the page names it."""
        return f"`probe run {' '.join(self.options)}` on `{self.profile}.yaml`"


EXTRA_RUNS = {
    "gptq-512": ExtraRun("a100-gptq", "512", (20, 128)),
    "rtx4090": ExtraRun("rtx4090", "128", (64, 200)),
    "rtx4090-fp16": ExtraRun("rtx4090-fp16", "1,128", (64, 200)),
    "a6000-fp16": ExtraRun("a6000-fp16", "1,64", (64, 200)),
    "rtx5060ti-fp8": ExtraRun("rtx5060ti-fp8", "1", (64, 200)),
    "rtx5060ti-4b": ExtraRun("rtx5060ti-4b", "1", (64, 200)),
}


def measure(scratch: Path) -> None:
    """Make the runs that are missing."""
    for name, run in EXTRA_RUNS.items():
        if not (scratch / name / "capacity.json").exists():
            server = ("--profile", str(SERVERS / f"{run.profile}.yaml"), "--personality", run.personality)
            simulated_run(server, run.options, scratch / name)


def extra_figures(scratch: Path) -> dict[str, list[dict[str, Any]]]:
    """Return each run's levels."""
    found = {}
    for name in EXTRA_RUNS:
        capacity = json.loads((scratch / name / "capacity.json").read_text(encoding="utf-8"))
        found[name] = [{key: level[key] for key in _FIGURES} for level in capacity["levels"]]
    return found
