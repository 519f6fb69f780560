"""The figures of the four later texts, one cell each, from ``cells.yaml``; the first text's are in `scripts.seeds`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.seed_documents.extra_runs import EXTRA_RUNS

_FILE = Path(__file__).with_name("cells.yaml")
RATE_TOLERANCE, TIME_FACTOR = 0.15, 1.5
"""As on the first text's page: of throughput, counts and whole replies; of waits for the first token."""
MADE_BY = {
    "001-batching": "`python -m scripts.seed_comparisons --only 001`",
    "002-quantization": "`python -m scripts.seed_comparisons --only 002`",
    "004-max-num-seqs": "`python -m scripts.seed_comparisons --only 004`",
    "spark": "`python -m scripts.seed_comparisons --only 004`",
    "coding": "`make coding-report`",
    "tap": "`make tap-two-prompts`",
    "caching": "`make seeds`",
    **{name: run.command for name, run in EXTRA_RUNS.items()},
}
"""the command that makes a figure, by the first part of its name; a cell may name another one"""


@dataclass(frozen=True)
class Cell:
    """One figure of a text. *Set*: a number of the simulated server, or follows from such numbers without a run."""

    text: str
    what: str
    published: float | tuple[float, float]
    """a range, where the text gives one"""
    ours: str = ""
    """name of our figure; empty where nothing of ours corresponds to it"""
    unit: str = ""
    kind: str = "predicted"
    """or `fitted: …`, `set: …`, `follows from …`"""
    command: str = ""
    is_wait: bool = False
    why: str = ""
    """the model does not follow it"""

    def within(self, measured: float) -> bool:
        """Return whether our figure is within the text's range, or within tolerance of its number."""
        if isinstance(self.published, tuple):
            low, high = self.published
            return low <= measured <= high
        if self.is_wait:
            return 1 / TIME_FACTOR <= measured / self.published <= TIME_FACTOR
        return abs(measured / self.published - 1) <= RATE_TOLERANCE if self.published else measured == 0


def cells() -> list[Cell]:
    """Return all cells, text by text."""
    texts = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return [_cell(text, entry) for text, entries in texts.items() for entry in entries]


def _cell(text: str, entry: dict[str, Any]) -> Cell:
    published = entry.pop("published")
    own = {"command": MADE_BY.get(entry.get("ours", "").partition("/")[0], ""), **entry}
    return Cell(text, published=tuple(published) if isinstance(published, list) else published, **own)
