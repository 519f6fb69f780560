"""Profiles: the built-in ones reproduce the figures they are fitted to, and invalid files give one-line errors."""

from pathlib import Path

import pytest
from sim_helpers import simulate

from probe_ext.sim.engine.step_types import Request
from probe_ext.sim.profile import ProfileError, load_profile, profile_names


def test_the_built_in_profiles() -> None:
    assert {
        "demo",
        "demo-wall",
        "rtx3060-qwen2.5-7b-awq",
        "rtx3060-llama2-7b-gptq",
        "rtx5060ti-qwen2.5-7b-awq",
        "a100-moe-35b-int4",
    } <= set(profile_names())
    for name in profile_names():
        assert load_profile(name).name == name


def test_the_kv_cache_size_follows_from_the_model() -> None:
    qwen, llama = load_profile("rtx3060-qwen2.5-7b-awq"), load_profile("rtx3060-llama2-7b-gptq")
    assert qwen.kv_bytes_per_token == 56 * 1024
    assert llama.kv_bytes_per_token == 512 * 1024
    assert qwen.num_gpu_blocks * qwen.block_size == pytest.approx(120_000, rel=0.01)
    assert llama.num_gpu_blocks * llama.block_size == pytest.approx(13_200, rel=0.01)


def test_without_kv_pool_bytes_the_cache_gets_the_remaining_memory() -> None:
    moe = load_profile("a100-moe-35b-int4")
    assert moe.kv_pool_bytes is None
    assert moe.kv_bytes == pytest.approx(8.5e10 * 0.98 - 2.45e10 - 6e9)


def simulate_users(name: str, users: int, prompt: int = 25, reply: int = 200) -> tuple[float, float, float]:
    """Return (total tokens/s, tokens/s per user, mean TTFT) of users that each send one request at the same time."""
    requests = [
        Request(n, 0.0, tuple(range(1000 * n, 1000 * n + prompt)), tuple(range(reply))) for n in range(1, users + 1)
    ]
    run = simulate(load_profile(name), requests)
    done = run.finished.values()
    rate = sum((d.reply_tokens - 1) / (d.last - d.first) for d in done) / users
    return users * reply / run.engine.now, rate, sum(d.first - d.arrival for d in done) / users


MEASURED = [  # users, tokens/s per user; a public report of vLLM 0.11.0 on an RTX 3060
    ("rtx3060-qwen2.5-7b-awq", 1, 58.9),
    ("rtx3060-qwen2.5-7b-awq", 8, 53.6),
    ("rtx3060-qwen2.5-7b-awq", 16, 49.9),
    ("rtx3060-qwen2.5-7b-awq", 64, 18.8),
    ("rtx3060-qwen2.5-7b-awq", 96, 12.9),
    ("rtx3060-llama2-7b-gptq", 1, 79.4),
    ("rtx3060-llama2-7b-gptq", 8, 65.2),
    ("rtx3060-llama2-7b-gptq", 16, 53.1),
    ("rtx3060-llama2-7b-gptq", 32, 31.7),
    ("rtx5060ti-qwen2.5-7b-awq", 1, 78.7),
    ("rtx5060ti-qwen2.5-7b-awq", 2, 76.5),
]


@pytest.mark.parametrize(("name", "users", "rate"), MEASURED)
def test_decode_rate_is_close_to_the_measured_one(name: str, users: int, rate: float) -> None:
    assert simulate_users(name, users)[1] == pytest.approx(rate, rel=0.15)


@pytest.mark.parametrize(
    ("name", "ttft"),
    [("rtx3060-qwen2.5-7b-awq", 0.043), ("rtx3060-llama2-7b-gptq", 0.037), ("rtx5060ti-qwen2.5-7b-awq", 0.0205)],
)
def test_ttft_of_one_user_is_close_to_the_measured_one(name: str, ttft: float) -> None:
    assert simulate_users(name, 1, prompt=20)[2] == pytest.approx(ttft, rel=0.15)


def test_only_the_model_with_the_large_kv_footprint_runs_out_of_cache() -> None:
    results = {}
    for name in ("rtx3060-llama2-7b-gptq", "rtx3060-qwen2.5-7b-awq"):
        shared = tuple(range(1950))
        requests = [
            Request(n, 0.0, shared + tuple(range(9000 * n, 9000 * n + 50)), tuple(range(500))) for n in range(1, 33)
        ]
        run = simulate(load_profile(name), requests)
        results[name] = (max(step.snapshot.kv_usage for step in run.steps), len(run.preempted))
    assert results["rtx3060-llama2-7b-gptq"][0] > 0.99
    assert results["rtx3060-llama2-7b-gptq"][1] > 0
    assert results["rtx3060-qwen2.5-7b-awq"][0] < 0.5
    assert results["rtx3060-qwen2.5-7b-awq"][1] == 0


def test_a_profile_file_can_extend_a_built_in_profile(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: demo\nmax_num_seqs: 3\nflops: 2e13\n")
    mine = load_profile(str(path))
    assert (mine.name, mine.max_num_seqs, mine.flops) == ("mine", 3, 2e13)
    assert mine.layers == load_profile("demo").layers


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("base: demo\nmax_num_sequences: 3\n", ("max_num_sequences", "3", "unknown key")),
        ("base: demo\nmax_num_seqs: many\n", ("max_num_seqs", "'many'", "not a valid integer")),
        ("base: demo\nflops: fast\n", ("flops", "'fast'", "not a number")),
        ("base: demo\nflops: 0\n", ("flops", "0.0", "greater than 0")),
        ("base: demo\nflops: -1\n", ("flops", "-1.0", "not negative")),
        ("base: demo\nchunked_prefill: 1\n", ("chunked_prefill", "1", "boolean")),
        ("base: demo\nactive_weight_share: 2\n", ("active_weight_share", "2.0", "(0, 1]")),
        ("base: demo\nmax_model_len: 999999\n", ("max_model_len", "999999", "KV cache")),
        ("base: other\n", ("base", "'other'", "not one of")),
        ("layers: 3\n", ("missing",)),
        ("- 1\n", ("not a YAML mapping",)),
        ("a: [\n", ("not valid YAML",)),
    ],
)
def test_an_invalid_file_gives_a_one_line_error(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_profile(str(path))
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in (*parts, str(path)))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ProfileError, match=r"'rtx9090' is neither a file nor one of .*demo"):
        load_profile("rtx9090")
    with pytest.raises(ProfileError, match="cannot read"):
        load_profile("nowhere/mine.yaml")
