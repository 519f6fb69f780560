"""How long one step of the engine takes: a roofline in five numbers.

``step = overhead + sequences x per-sequence + max(weights read, arithmetic) + cache read``

* *weights read*: the weights pass through the memory bus once a step, however many sequences share it. A mixture of
  experts reads the share that its tokens touch: 1 - (1 - a)^n for n tokens that touch a share a each.
* *arithmetic*: two operations per active parameter and token, plus attention (4 x layers x hidden width x context
  for every prompt token, https://arxiv.org/abs/2001.08361 §2.1), at the rate the kernels reach.
* *cache read*: each sequence reads its own K and V; nothing is shared, so it is added and not hidden.

This is the usual roofline of LLM inference (https://arxiv.org/abs/2402.16363); the profile says where each number
came from. Times are seconds.
"""

from dataclasses import dataclass

from probe_ext.sim.profile import Profile


@dataclass(slots=True)
class Work:
    """What one step has to do."""

    tokens: int = 0
    sequences: int = 0
    cached_tokens_read: int = 0
    attention_pairs: int = 0
    """Prompt tokens times the context each of them looks at."""


class Roofline:
    """Step durations for a profile, ``speed`` times faster than its card."""

    def __init__(self, profile: Profile, speed: float = 1.0) -> None:
        self._fixed = profile.step_overhead_s / speed
        self._per_sequence = profile.sequence_overhead_s / speed
        self._weights = profile.weight_bytes / profile.memory_bandwidth / speed
        self._untouched = 1.0 - profile.active_weight_share
        self._per_token = 2.0 * profile.active_parameters / profile.flops / speed
        self._per_pair = 4.0 * profile.layers * profile.hidden_size / profile.flops / speed
        self._per_cached = profile.kv_bytes_per_token / profile.memory_bandwidth / speed

    def seconds(self, work: Work) -> float:
        """Duration of one step, in seconds."""
        read = self._weights * (1.0 - self._untouched**work.tokens)
        arithmetic = work.tokens * self._per_token + work.attention_pairs * self._per_pair
        cache = work.cached_tokens_read * self._per_cached
        return self._fixed + work.sequences * self._per_sequence + max(read, arithmetic) + cache
