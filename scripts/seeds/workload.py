"""Assumptions where the article is silent: the lengths of prompts and replies.

Lengths are tokens of the simulator's tokenizer. Each is fitted to the figures named beside it (see ``FITTED``), and is
the same for all other figures of its table.
"""

from dataclasses import dataclass

from scripts.seeds.article import LLAMA, QWEN


@dataclass(frozen=True)
class Workload:
    """Lengths of one kind of request, in tokens."""

    own: int
    """Unique tokens of each prompt."""
    reply: int
    """Tokens of every reply."""
    shared: int = 0
    """Common prefix of all prompts."""

    @property
    def prompt(self) -> int:
        """Length of the whole prompt."""
        return self.shared + self.own


SHORT = Workload(own=14, reply=200)
"""Baseline and sweep. ``own`` is fitted to Qwen's TTFT p95 at 64 users: a question of a few words, since the chat
template before it is cached. Of "200 max output tokens", all 200: users × rate per user nearly gives the published
total."""

WALL = Workload(shared=1872, own=20, reply=430)
"""Memory wall. Peak KV of 28 % at 4 users and 97 % at 24 implies about 1,870 shared tokens and 450 per user: prompts
with a common prefix, and replies that end a little before the limit of 500."""
WALL_DISTINCT = Workload(own=WALL.prompt, reply=WALL.reply)
"""The same lengths without a shared prefix: a prediction, with no published figures to compare to."""

LONG = Workload(shared=12_000, own=25, reply=900)
"""Qwen's long prompts: 12,000 tokens as published; the rest is fitted to the peak KV of 47 %."""

CACHED = {QWEN: Workload(shared=544, own=20, reply=100), LLAMA: Workload(shared=448, own=20, reply=42)}
"""Prefix caching, shared prompts. ``shared`` is fitted to each model's unique p50. ``own``, the same for both, is
between the best fits of Qwen's hit rate (14) and of Qwen's shared p50 (28). Llama-2's 42 tokens are published (1,251 in
30 replies); Qwen's 100 is a guess that only affects the time between two waves."""
CACHED_REPLY_SHARED = {QWEN: 100, LLAMA: 2}
"""Reply lengths with shared prompts: Llama-2's 52 tokens in 30 replies are published."""

FITTED: dict[tuple[str, str, int, str], str] = {
    ("sweep", QWEN, 1, "decode_rate"): "memory_bandwidth of Qwen",
    ("sweep", LLAMA, 1, "decode_rate"): "memory_bandwidth of Llama-2",
    ("sweep", QWEN, 16, "decode_rate"): "sequence_overhead_s of both",
    ("sweep", QWEN, 64, "decode_rate"): "flops of both",
    ("sweep", QWEN, 64, "ttft_p95"): "prompt length of the sweep",
    ("baseline", QWEN, 1, "ttft_mean"): "frontend_s of both",
    ("wall", LLAMA, 4, "kv_usage_max"): "shared tokens of the memory wall",
    ("wall", LLAMA, 24, "kv_usage_max"): "reply length of the memory wall",
    ("long", QWEN, 48, "kv_usage_max"): "reply length of the long prompts",
    ("caching", QWEN, 8, "cold_p50"): "prompt length of Qwen's prefix caching",
    ("caching", LLAMA, 8, "cold_p50"): "prompt length of Llama-2's prefix caching",
    ("caching", QWEN, 8, "warm_p50"): "own tokens of prefix caching",
    ("caching", QWEN, 8, "warm_hit_rate"): "own tokens of prefix caching",
    ("caching", QWEN, 8, "ratio"): "follows from two fitted figures",
    ("caching", LLAMA, 8, "ratio"): "follows partly from a fitted figure",
}
"""The parameter fitted to a cell, by cell; all other cells are predicted."""
