"""Duration of one engine step, as a roofline model of five terms.

``step = overhead + sequences x per-sequence + max(weights read, arithmetic) + cache read``

* *weights read*: the weights are read from memory once a step, however many sequences it has. A mixture of experts
  reads the fraction its tokens activate: 1 - (1 - a)^n for n tokens that activate a fraction a each.
* *arithmetic*: two operations per active parameter and token, plus attention (4 x layers x hidden size x context for
  every prompt token, https://arxiv.org/abs/2001.08361 §2.1), at the rate the kernels reach.
* *cache read*: each sequence reads its own K and V. Nothing is shared, so this adds to the maximum of the other two.

This is the usual roofline model of LLM inference (https://arxiv.org/abs/2402.16363); the profiles document the source
of each number. Times are seconds.
"""

from dataclasses import dataclass

from probe_ext.sim.profile import Profile


@dataclass(slots=True)
class StepWork:
    """The work of one step."""

    tokens: int = 0
    sequences: int = 0
    cached_tokens_read: int = 0
    attention_pairs: int = 0
    """Sum over prompt tokens of the context each attends to."""


class Roofline:
    """Step durations of a profile on hardware ``speed`` times faster than its card."""

    def __init__(self, profile: Profile, speed: float = 1.0) -> None:
        self._fixed = profile.step_overhead_s / speed
        self._per_sequence = profile.sequence_overhead_s / speed
        self._weights = profile.weight_bytes / profile.memory_bandwidth / speed
        self._inactive_share = 1.0 - profile.active_weight_share
        self._per_token = 2.0 * profile.active_parameters / profile.flops / speed
        self._per_pair = 4.0 * profile.layers * profile.hidden_size / profile.flops / speed
        self._per_cached = profile.kv_bytes_per_token / profile.memory_bandwidth / speed

    def seconds(self, work: StepWork) -> float:
        """Return the duration of one step, in seconds."""
        return self._fixed + work.sequences * self._per_sequence + self.gpu_seconds(work)

    def gpu_seconds(self, work: StepWork) -> float:
        """Return how much of it the GPU computes; in the rest, the engine prepares the step and handles its tokens."""
        read = self._weights * (1.0 - self._inactive_share**work.tokens)
        arithmetic = work.tokens * self._per_token + work.attention_pairs * self._per_pair
        return max(read, arithmetic) + work.cached_tokens_read * self._per_cached
