"""The runs of the report: scenarios and workloads as anybody would start them, against the simulated card."""

from dataclasses import dataclass
from pathlib import Path

PROFILE = "rtx5060ti-qwen2.5-7b-awq"
PRICE = 400.0
"""of the card, in dollars"""
YEARS = 3
PRICE_PER_HOUR = PRICE / (YEARS * 365 * 24)
SWEEP, TEAM = "sweep", "team"


@dataclass(frozen=True)
class Run:
    """One run, by the options of `probe run`."""

    name: str
    options: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command, without the host."""
        return " ".join(("probe run", *self.options))


def _alone(name: str, prompt: int, reply: int, shared: int = 0) -> Run:
    lengths = ("--input-tokens", str(prompt), "--max-tokens", str(reply), "--ignore-eos")
    return Run(name, ("baseline", *lengths, *(("--shared-prefix-tokens", str(shared)) if shared else ())))


TASKS = {"chat": (40, 100), "function": (60, 300), "file": (120, 800), "review": (600, 400)}
"""Prompt and reply of each task, in tokens: the review's reply lengths, the prompt lengths of the workload `coding`."""

PROMPTS = ((20, 0), (45, 26), (75, 56), (45, 0), (75, 0), (500, 0), (2000, 0))
"""Tokens, chat template included, and how many of them are the same in all prompts. The first three stand for the
review's 5, 105 and 244 characters, sent again and again."""

_COST = ("--price-per-hour", f"{PRICE_PER_HOUR:.5f}")
_TWO = ("--levels", "2", "--hold", "30s", "--input-tokens", "40", "--max-tokens", "100", "--ignore-eos")
RUNS = (
    *(_alone(f"alone-{task}", *lengths) for task, lengths in TASKS.items()),
    *(_alone(f"prompt-{tokens}-{shared}", tokens, 16, shared) for tokens, shared in PROMPTS),
    Run("two", ("capacity", *_TWO, "--slo", "coding-assistant")),
    Run(SWEEP, ("--workload", "coding", "--levels", "8,32,64,96", "--hold", "40s", "--min-replies", "2")),
    Run(TEAM, ("--workload", "coding", "--levels", "64", "--hold", "20m", *_COST)),
)


def directory(scratch: Path, run: Run) -> Path:
    """Return where a run's files are."""
    return scratch / run.name
