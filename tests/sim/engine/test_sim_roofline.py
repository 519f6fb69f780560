"""Step durations: the effect of each term of the roofline."""

from dataclasses import replace

import pytest

from probe_ext.sim.engine.roofline import Roofline, StepWork
from probe_ext.sim.profile import load_profile

PLAIN = replace(
    load_profile("demo"), weight_bytes=1e9, memory_bandwidth=1e11, active_parameters=1e9, flops=1e13,
    step_overhead_s=0.001, sequence_overhead_s=0.0005,
)  # fmt: skip


def test_one_token_takes_as_long_as_reading_the_weights() -> None:
    assert Roofline(PLAIN).seconds(StepWork(tokens=1, sequences=1)) == pytest.approx(0.001 + 0.0005 + 0.01)


def test_many_tokens_are_bound_by_arithmetic() -> None:
    assert Roofline(PLAIN).seconds(StepWork(tokens=1000, sequences=1)) == pytest.approx(0.001 + 0.0005 + 0.2)


def test_reading_the_cache_adds_to_the_step() -> None:
    read = StepWork(tokens=1, sequences=1, cached_tokens_read=10_000)
    extra = Roofline(PLAIN).seconds(read) - Roofline(PLAIN).seconds(StepWork(tokens=1, sequences=1))
    assert extra == pytest.approx(10_000 * PLAIN.kv_bytes_per_token / 1e11)


def test_attention_makes_long_prompts_slower() -> None:
    short, long = StepWork(tokens=2000, sequences=1), StepWork(tokens=2000, sequences=1, attention_pairs=2000 * 8000)
    assert Roofline(PLAIN).seconds(long) > 1.05 * Roofline(PLAIN).seconds(short)


def test_a_mixture_of_experts_reads_more_weights_for_more_tokens() -> None:
    moe = Roofline(replace(PLAIN, active_weight_share=0.1))
    for_1, for_10, for_40 = (moe.seconds(StepWork(tokens=n, sequences=1)) for n in (1, 10, 40))
    assert for_1 == pytest.approx(0.0015 + 0.001)
    assert for_1 < for_10 < for_40 <= 0.0015 + 0.01
