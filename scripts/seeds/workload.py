"""What the article leaves unsaid and we had to assume: lengths of prompts and answers, and how many asked how often.

Lengths are tokens of the simulator's tokenizer. Each is fitted to the cells named beside it (``FITTED`` has them all),
and is the same for every other cell of its table.
"""

from dataclasses import dataclass

from scripts.seeds.article import LLAMA, QWEN


@dataclass(frozen=True)
class Workload:
    """One kind of request."""

    own: int
    """tokens of a prompt that are its own"""
    reply: int
    """tokens of every answer"""
    shared: int = 0
    """tokens at the start of every prompt that are the same for all"""

    @property
    def prompt(self) -> int:
        """Tokens of the whole prompt."""
        return self.shared + self.own


SHORT = Workload(own=14, reply=200)
"""Baseline and sweep. ``own`` is fitted to Qwen's TTFT p95 at 64 users: a question of a few words, since the chat
template before it is cached. "200 max output tokens": all 200, for per-user × users is nearly the total published."""

WALL = Workload(shared=1872, own=20, reply=430)
"""Memory wall. Peak KV of 28 % at 4 users and of 97 % at 24 leaves about 1,870 tokens that all share and 450 of each
user's own: prompts that begin alike, and answers that end a little before the limit of 500."""
WALL_DISTINCT = Workload(own=WALL.prompt, reply=WALL.reply)
"""The same lengths, nothing shared: nothing published to compare with, a prediction only."""

LONG = Workload(shared=12_000, own=25, reply=900)
"""Qwen's long prompts: 12,000 tokens published; the rest is fitted to the peak KV of 47 %."""

CACHED = {QWEN: Workload(shared=544, own=20, reply=100), LLAMA: Workload(shared=448, own=20, reply=42)}
"""Prefix caching, shared arm. ``shared`` is fitted to each model's unique p50. ``own``, the same for both, lies between
what Qwen's hit rate (14) and Qwen's shared p50 (28) ask for. Llama-2's 42 tokens are published (1,251 in 30 answers),
Qwen's 100 is a guess that moves nothing but the time between two waves."""
CACHED_REPLY_SHARED = {QWEN: 100, LLAMA: 2}
"""Answers of the shared arm: Llama-2's 52 tokens in 30 answers are published."""

FITTED: dict[tuple[str, str, int, str], str] = {
    ("sweep", QWEN, 1, "decode_rate"): "memory_bandwidth of Qwen",
    ("sweep", LLAMA, 1, "decode_rate"): "memory_bandwidth of Llama-2",
    ("sweep", QWEN, 16, "decode_rate"): "sequence_overhead_s of both",
    ("sweep", QWEN, 64, "decode_rate"): "flops of both",
    ("sweep", QWEN, 64, "ttft_p95"): "prompt length of the sweep",
    ("baseline", QWEN, 1, "ttft_mean"): "frontend_s of both",
    ("wall", LLAMA, 4, "kv_usage_max"): "shared tokens of the memory wall",
    ("wall", LLAMA, 24, "kv_usage_max"): "answer length of the memory wall",
    ("long", QWEN, 48, "kv_usage_max"): "answer length of the long prompts",
    ("caching", QWEN, 8, "cold_p50"): "prompt length of Qwen's prefix caching",
    ("caching", LLAMA, 8, "cold_p50"): "prompt length of Llama-2's prefix caching",
    ("caching", QWEN, 8, "warm_p50"): "own tokens of prefix caching",
    ("caching", QWEN, 8, "warm_hit_rate"): "own tokens of prefix caching",
    ("caching", QWEN, 8, "ratio"): "follows from two fitted cells",
    ("caching", LLAMA, 8, "ratio"): "follows half from a fitted cell",
}
"""Cells that something was fitted to, and what; every other cell is predicted."""
