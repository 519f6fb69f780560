"""What was published: vLLM 0.11.0 on one RTX 3060 12 GB, Qwen2.5-7B-Instruct AWQ and Llama-2-7B GPTQ.

Every number of its tables that can be measured again, one cell each. Units: seconds, tokens/s, fractions, counts. The
article leaves out how long prompts and answers were, how many requests made a figure, and whether the first wave
counted: what we assume of these stands in ``workload``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

QWEN, LLAMA = "rtx3060-qwen2.5-7b-awq", "rtx3060-llama2-7b-gptq"
"""the simulator's profiles of the two models on that card"""


@dataclass(frozen=True)
class Cell:
    """One number of a table."""

    table: str
    model: str
    users: int
    quantity: str
    published: float

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Names it."""
        return self.table, self.model, self.users, self.quantity


BASELINE = {QWEN: (0.043, 3.41, 59.1), LLAMA: (0.037, 2.55, 79.3)}
"""one user, 200 tokens: TTFT mean, total time mean, decode tokens/s mean"""

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
"""users: for Qwen and for Llama-2, total tokens/s, tokens/s of one user, TTFT p95"""

WALL = {4: (0.28, 0, 0, 137), 8: (0.45, 0, 0, 179), 16: (0.65, 0, 0, 212), 24: (0.97, 0, 0, 217), 32: (1.0, 11, 6, 215)}
"""Llama-2, prompts of about 2,000 tokens, up to 500 answered: peak KV, preemptions, waiting, total tokens/s"""

LONG = (0.47, 0)
"""Qwen, 48 users, prompts of 12,000 tokens: peak KV, preemptions"""
LONG_USERS = 48

CACHING = {QWEN: (2.48, 0.15, 0.0, 0.943), LLAMA: (1.40, 0.12, 0.0, 0.943)}
"""30 requests, 8 at a time, a system prompt of about 2,000 characters: TTFT p50 unique and shared, hit rate of each"""
CACHING_USERS = 8


_NAMES = {
    "baseline": ("ttft_mean", "total_time_mean", "decode_rate_mean"),
    "sweep": ("total_tokens_per_s", "decode_rate", "ttft_p95"),
    "wall": ("kv_usage_max", "preemptions", "waiting_max", "total_tokens_per_s"),
    "long": ("kv_usage_max", "preemptions"),
    "caching": ("cold_p50", "warm_p50", "ratio", "cold_hit_rate", "warm_hit_rate"),
}
"""columns of each table"""


def cells() -> list[Cell]:
    """Every published number, and the ratio unique / shared that follows from two of them."""
    found = [cell for model, row in BASELINE.items() for cell in _row("baseline", model, 1, row)]
    for users, both in SWEEP.items():
        for model, row in zip((QWEN, LLAMA), both, strict=True):
            found += _row("sweep", model, users, row)
    found += [cell for users, row in WALL.items() for cell in _row("wall", LLAMA, users, row)]
    found += _row("long", QWEN, LONG_USERS, LONG)
    for model, (cold, warm, *hits) in CACHING.items():
        found += _row("caching", model, CACHING_USERS, (cold, warm, cold / warm, *hits))
    return found


def _row(table: str, model: str, users: int, values: Sequence[float]) -> list[Cell]:
    names = zip(_NAMES[table], values, strict=True)
    return [Cell(table, model, users, name, value) for name, value in names]
