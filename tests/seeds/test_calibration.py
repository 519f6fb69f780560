"""The RTX 3060 profiles reproduce the fitted figures and predict the others, on virtual time, without `probe`."""

import pytest

from probe_ext.sim.profile import load_profile
from scripts.seeds import article, fit, virtual, workload
from scripts.seeds.article import LLAMA, QWEN
from scripts.seeds.virtual import Load, VirtualResult


def simulate(model: str, load: Load) -> VirtualResult:
    return virtual.run(load_profile(model), load)


def profile_card() -> fit.Card:
    """Return the card's parameters as the profiles have them."""
    qwen, llama = load_profile(QWEN), load_profile(LLAMA)
    assert (qwen.flops, qwen.sequence_overhead_s, qwen.frontend_s, qwen.step_overhead_s) == (
        llama.flops,
        llama.sequence_overhead_s,
        llama.frontend_s,
        llama.step_overhead_s,
    )
    return {
        "qwen": qwen.memory_bandwidth,
        "llama": llama.memory_bandwidth,
        "sequence": qwen.sequence_overhead_s,
        "flops": qwen.flops,
        "frontend": qwen.frontend_s,
    }


@pytest.mark.parametrize("fitted", fit.FITS, ids=lambda fitted: str(fitted[0]))
def test_each_fitted_parameter_reproduces_its_figure(fitted: tuple[str, float, float, object, float]) -> None:
    _, _, _, figure, published = fitted
    assert figure(profile_card()) == pytest.approx(published, rel=0.01)  # type: ignore[operator]


def test_bisection_solves_rising_and_falling_functions() -> None:
    assert fit.solve(lambda x: x * x, 9, 0, 10) == pytest.approx(3)
    assert fit.solve(lambda x: 1 / x, 0.5, 0.1, 10) == pytest.approx(2)


@pytest.mark.parametrize("users", article.SWEEP)
@pytest.mark.parametrize("model", [QWEN, LLAMA])
def test_the_sweep_is_within_tolerance(model: str, users: int) -> None:
    short = workload.SHORT
    result = simulate(model, Load(users, short.own, short.reply))
    total, rate, wait = article.SWEEP[users][(QWEN, LLAMA).index(model)]
    assert result.total_rate == pytest.approx(total, rel=0.15)
    assert result.decode_rate(short.reply) == pytest.approx(rate, rel=0.15)
    assert 1 / 1.5 <= result.ttft(0.95) / wait <= 1.5


@pytest.mark.parametrize("users", article.WALL)
def test_the_memory_wall_is_where_it_was_measured(users: int) -> None:
    wall = workload.WALL
    result = simulate(LLAMA, Load(users, wall.own, wall.reply, wall.shared))
    kv, preemptions, _, total = article.WALL[users]
    assert result.kv_usage_max == pytest.approx(kv, abs=0.06)
    assert (result.preemptions > 0) == (preemptions > 0)
    assert result.total_rate == pytest.approx(total, rel=0.15)


def test_long_shared_prompts_fill_half_of_qwen_s_cache() -> None:
    long = workload.LONG
    result = simulate(QWEN, Load(article.LONG_USERS, long.own, 40, long.shared))
    assert result.preemptions == 0
    whole = long.shared + article.LONG_USERS * (long.own + long.reply)
    assert whole / (load_profile(QWEN).num_gpu_blocks * 16) == pytest.approx(article.LONG[0], abs=0.01)


@pytest.mark.parametrize("model", [QWEN, LLAMA])
def test_a_cached_prefix_speeds_up_ttft_as_measured(model: str) -> None:
    prompt = workload.CACHED[model]
    cold = simulate(model, Load(article.CACHING_USERS, prompt.prompt, prompt.reply, rounds=4))
    reply = workload.CACHED_REPLY_SHARED[model]
    warm = simulate(model, Load(article.CACHING_USERS, prompt.own, reply, prompt.shared, rounds=4))
    unique, shared, _, hits = article.CACHING[model]
    assert cold.ttft(0.5) / warm.ttft(0.5) == pytest.approx(unique / shared, rel=0.25)
    assert warm.hit_rate == pytest.approx(hits, abs=0.03)
    assert cold.hit_rate == 0


def test_every_fitted_figure_is_published() -> None:
    published = {cell.key for cell in article.cells()}
    assert set(workload.FITTED) <= published
    assert len(published) == len(article.cells()) == 86
