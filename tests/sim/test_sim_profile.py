"""Profiles: the built-in ones hold what they were fitted to, and a wrong file is refused in one line."""

from pathlib import Path

import pytest
from sim_helpers import play

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


def test_the_cache_follows_from_the_model() -> None:
    qwen, llama = load_profile("rtx3060-qwen2.5-7b-awq"), load_profile("rtx3060-llama2-7b-gptq")
    assert qwen.kv_bytes_per_token == 56 * 1024
    assert llama.kv_bytes_per_token == 512 * 1024
    assert qwen.num_gpu_blocks * qwen.block_size == pytest.approx(120_000, rel=0.01)
    assert llama.num_gpu_blocks * llama.block_size == pytest.approx(13_200, rel=0.01)


def test_without_a_stated_pool_the_cache_is_what_the_card_leaves() -> None:
    moe = load_profile("a100-moe-35b-int4")
    assert moe.kv_pool_bytes is None
    assert moe.kv_bytes == pytest.approx(8.5e10 * 0.98 - 2.45e10 - 6e9)


def crowd(name: str, users: int, prompt: int = 25, reply: int = 200) -> tuple[float, float, float]:
    """(total tokens/s, tokens/s each, mean first wait) of users that ask once, together."""
    asks = [
        Request(n, 0.0, tuple(range(1000 * n, 1000 * n + prompt)), tuple(range(reply))) for n in range(1, users + 1)
    ]
    story = play(load_profile(name), asks)
    done = story.ends.values()
    each = sum((d.reply_tokens - 1) / (d.last - d.first) for d in done) / users
    return users * reply / story.engine.now, each, sum(d.first - d.arrival for d in done) / users


MEASURED = [  # users, tokens/s each; a public report of vLLM 0.11.0 on an RTX 3060
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


@pytest.mark.parametrize(("name", "users", "each"), MEASURED)
def test_typing_speed_is_in_the_measured_region(name: str, users: int, each: float) -> None:
    assert crowd(name, users)[1] == pytest.approx(each, rel=0.15)


@pytest.mark.parametrize(
    ("name", "wait"),
    [("rtx3060-qwen2.5-7b-awq", 0.043), ("rtx3060-llama2-7b-gptq", 0.037), ("rtx5060ti-qwen2.5-7b-awq", 0.0205)],
)
def test_first_word_of_one_user_is_in_the_measured_region(name: str, wait: float) -> None:
    assert crowd(name, 1, prompt=20)[2] == pytest.approx(wait, rel=0.15)


def test_one_model_hits_the_memory_wall_and_the_other_does_not() -> None:
    walls = {}
    for name in ("rtx3060-llama2-7b-gptq", "rtx3060-qwen2.5-7b-awq"):
        shared = tuple(range(1950))
        asks = [
            Request(n, 0.0, shared + tuple(range(9000 * n, 9000 * n + 50)), tuple(range(500))) for n in range(1, 33)
        ]
        story = play(load_profile(name), asks)
        walls[name] = (max(step.snapshot.kv_usage for step in story.steps), len(story.preempted))
    assert walls["rtx3060-llama2-7b-gptq"][0] > 0.99
    assert walls["rtx3060-llama2-7b-gptq"][1] > 0
    assert walls["rtx3060-qwen2.5-7b-awq"][0] < 0.5
    assert walls["rtx3060-qwen2.5-7b-awq"][1] == 0


def test_a_user_s_file_may_start_from_a_built_in_one(tmp_path: Path) -> None:
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
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
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
