"""Recorded runs of a real vLLM 0.32.0 (CPU, a small model, one engine) are reproduced down to the counters.

The figures are that server's /metrics and its client's longest gaps, recorded once for each run. When the real requests
were sent "at once", the first reached the scheduler one step before the others, and it does here.
"""

from dataclasses import replace

import pytest
from sim_helpers import SimulatedRun, make_request, simulate, tiny

from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Request
from probe_ext.sim.metrics.vllm_metrics import Metrics
from probe_ext.sim.profile import Profile

CPU = {"max_num_batched_tokens": 2048, "max_num_seqs": 128, "step_overhead_s": 0.0, "sequence_overhead_s": 0.001}
STEP_S, PREFILL_TOKENS_PER_S = 0.0105, 1830  # of the recorded machine


def with_recorded_speed(profile: Profile) -> Profile:
    """Apply the recorded machine's speed: 12.65 ms per step with two running, 512 prompt tokens in 0.28 s."""
    return replace(
        profile,
        memory_bandwidth=profile.weight_bytes / STEP_S,
        flops=2 * profile.active_parameters * PREFILL_TOKENS_PER_S,
    )


def longest_gaps(run: SimulatedRun) -> list[float]:
    last: dict[int, float] = {}
    gaps: dict[int, float] = {}
    for step in run.steps:
        for output in step.outputs:
            before = last.get(output.request_id, step.end)
            gaps[output.request_id] = max(gaps.get(output.request_id, 0.0), step.end - before)
            last[output.request_id] = step.end
    return sorted(gaps.values())


def test_preemption_with_eight_streams_on_32_blocks() -> None:
    profile = with_recorded_speed(replace(tiny(32, block_size=32, **CPU), max_model_len=768))
    run = simulate(profile, [make_request(n, 0.0 if n == 1 else 0.01, prompt=64, reply=400) for n in range(1, 9)])
    assert sum(step.tally.preemptions for step in run.steps) == 12
    assert max(step.snapshot.waiting for step in run.steps) == 6
    assert max(step.snapshot.kv_usage for step in run.steps) == 1.0
    assert len(run.steps) == 1067  # iteration_tokens_total_count
    assert sum(step.tally.prefix_queries for step in run.steps) == 512
    assert longest_gaps(run)[2:] == pytest.approx([1.9, 3.0, 3.8, 4.3, 7.6, 7.6], rel=0.1)
    assert longest_gaps(run)[1] < 0.3


def test_queueing_with_sixteen_users_and_four_sequences() -> None:
    profile = with_recorded_speed(replace(tiny(511, block_size=128, **{**CPU, "max_num_seqs": 4}), max_model_len=4096))
    run, sent = SimulatedRun(Engine(profile)), 16
    for number in range(1, 17):
        run.engine.add(make_request(number, 0.0 if number == 1 else 0.01, prompt=128, reply=100))
    while (step := run.engine.step()) is not None:
        run.steps.append(step)
        for _ in step.finished:
            if sent < 32:
                sent += 1
                run.engine.add(make_request(sent, step.end, prompt=128, reply=100))
    assert max(step.snapshot.waiting for step in run.steps) == 12
    assert max(step.snapshot.kv_usage for step in run.steps) == 8 / 511
    assert len(run.steps) == 801
    assert run.preempted == []
    assert sum(done.scheduled - done.queued for done in run.finished.values()) == pytest.approx(113.4, rel=0.1)
    assert sum(done.first - done.arrival for done in run.finished.values()) == pytest.approx(123.1, rel=0.1)


@pytest.mark.parametrize(("shared", "hits", "iteration_tokens"), [(896, 4480, 1712), (0, 0, 6192)])
def test_prefix_caching_with_six_consecutive_prompts(shared: int, hits: int, iteration_tokens: int) -> None:
    profile = replace(tiny(511, block_size=128, **CPU), max_model_len=4096)
    prompts = [(*range(shared), *range(10_000 * n, 10_000 * n + 1024 - shared)) for n in range(1, 7)]
    run = simulate(profile, [Request(n, 5.0 * n, prompt, tuple(range(8))) for n, prompt in enumerate(prompts, 1)])
    metrics = Metrics(profile, "m", 0.0)
    for step in run.steps:
        metrics.observe_step(step)
    samples = dict(line.rsplit(" ", 1) for line in metrics.render().splitlines() if not line.startswith("#"))
    own = '{engine="0",model_name="m"}'
    assert float(samples["vllm:prefix_cache_queries_total" + own]) == 6144
    assert float(samples["vllm:prefix_cache_hits_total" + own]) == hits
    assert float(samples["vllm:prompt_tokens_total" + own]) == 6144
    assert float(samples["vllm:prompt_tokens_cached_total" + own]) == hits
    assert float(samples["vllm:iteration_tokens_total_sum" + own]) == iteration_tokens
    assert float(samples["vllm:iteration_tokens_total_count" + own]) == 48
    assert max(step.snapshot.kv_usage for step in run.steps) == 9 / 511


def test_an_exactly_repeated_prompt_still_computes_its_last_block() -> None:
    profile = replace(tiny(511, block_size=128, **CPU), max_model_len=4096)
    prompts = [(*range(896), *range(10_000 * n, 10_000 * n + 128)) for n in range(1, 7)] * 2
    run = simulate(profile, [Request(n, 5.0 * n, prompt, tuple(range(8))) for n, prompt in enumerate(prompts, 1)])
    assert sum(step.tally.prefix_hits for step in run.steps) == 4480 + 5376
