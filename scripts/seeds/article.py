"""The published figures: vLLM 0.11.0 on one RTX 3060 12 GB, Qwen2.5-7B-Instruct AWQ and Llama-2-7B GPTQ.

They are all figures of the article's tables that can be measured again, one cell each. Units: seconds, tokens/s,
fractions, counts. The article does not state the lengths of prompts and replies, the number of requests per figure, or
whether the first wave was included; ``workload`` has our assumptions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

QWEN, LLAMA = "rtx3060-qwen2.5-7b-awq", "rtx3060-llama2-7b-gptq"
"""The simulator's profiles of the two models on that card."""


@dataclass(frozen=True)
class Cell:
    """One figure of a table."""

    table: str
    model: str
    users: int
    quantity: str
    published: float

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Identify the cell."""
        return self.table, self.model, self.users, self.quantity


BASELINE = {QWEN: (0.043, 3.41, 59.1), LLAMA: (0.037, 2.55, 79.3)}
"""One user, 200 tokens: means of TTFT, total time, and decode tokens/s."""

SWEEP = {
    1: ((58.5, 58.9, 0.04), (78.8, 79.4, 0.03)),
    2: ((102.0, 57.7, 0.07), (150.9, 76.5, 0.05)),
    4: ((217.6, 55.7, 0.10), (284.8, 72.7, 0.08)),
    8: ((410.1, 53.6, 0.14), (505.5, 65.2, 0.12)),
    16: ((760.8, 49.9, 0.17), (810.4, 53.1, 0.21)),
    32: ((999.0, 32.5, 0.28), (971.0, 31.7, 0.34)),
    64: ((1157.5, 18.8, 0.57), (1009.9, 16.6, 0.59)),
    96: ((1184.7, 12.9, 0.77), (869.8, 10.4, 0.74)),
}
"""By users, for (Qwen, Llama-2): total tokens/s, tokens/s per user, TTFT p95."""

WALL = {4: (0.28, 0, 0, 137), 8: (0.45, 0, 0, 179), 16: (0.65, 0, 0, 212), 24: (0.97, 0, 0, 217), 32: (1.0, 11, 6, 215)}
"""Llama-2, prompts of about 2,000 tokens, replies of up to 500: peak KV, preemptions, waiting, total tokens/s."""

LONG = (0.47, 0)
"""Qwen, 48 users, prompts of 12,000 tokens: peak KV, preemptions."""
LONG_USERS = 48

CACHING = {QWEN: (2.48, 0.15, 0.0, 0.943), LLAMA: (1.40, 0.12, 0.0, 0.943)}
"""30 requests, 8 at a time, a system prompt of about 2,000 characters: TTFT p50, hit rates; unique, shared of each."""
CACHING_USERS = 8


_COLUMNS = {
    "baseline": ("ttft_mean", "total_time_mean", "decode_rate_mean"),
    "sweep": ("total_tokens_per_s", "decode_rate", "ttft_p95"),
    "wall": ("kv_usage_max", "preemptions", "waiting_max", "total_tokens_per_s"),
    "long": ("kv_usage_max", "preemptions"),
    "caching": ("cold_p50", "warm_p50", "ratio", "cold_hit_rate", "warm_hit_rate"),
}
"""Columns of each table."""


def cells() -> list[Cell]:
    """Return every published figure, including the ratio unique / shared, which follows from two of them."""
    result = [cell for model, row in BASELINE.items() for cell in _row("baseline", model, 1, row)]
    for users, rows in SWEEP.items():
        for model, row in zip((QWEN, LLAMA), rows, strict=True):
            result += _row("sweep", model, users, row)
    result += [cell for users, row in WALL.items() for cell in _row("wall", LLAMA, users, row)]
    result += _row("long", QWEN, LONG_USERS, LONG)
    for model, (cold, warm, *hits) in CACHING.items():
        result += _row("caching", model, CACHING_USERS, (cold, warm, cold / warm, *hits))
    return result


def _row(table: str, model: str, users: int, values: Sequence[float]) -> list[Cell]:
    names = zip(_COLUMNS[table], values, strict=True)
    return [Cell(table, model, users, name, value) for name, value in names]
