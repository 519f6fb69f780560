"""Servers whose bound is known by construction, and the load that shows it."""

from dataclasses import dataclass, replace

from probe_ext.sim.personality import Personality
from probe_ext.sim.profile import Profile, load_profile
from scripts.study.virtual.people import People

DEMO = load_profile("demo")
WALL = load_profile("demo-wall")
QWEN = load_profile("rtx3060-qwen2.5-7b-awq")
LLAMA = load_profile("rtx3060-llama2-7b-gptq")
TI = load_profile("rtx5060ti-qwen2.5-7b-awq")
MOE = load_profile("a100-moe-35b-int4")


_LIMITED = {"batch_limit", "memory_wall", "prefill_bound", "ceiling"}
_OUTSIDE = frozenset({"throughput_limit"})
"""from outside, all of these show as throughput that no longer grows"""


@dataclass(frozen=True)
class Regime:
    """A server, its users, and what bounds it: the rules of the diagnosis that must hold, and no other."""

    bounds: frozenset[str]
    profile: Profile
    people: People
    levels: tuple[int, ...]
    outside: frozenset[str] = frozenset()
    """what can be known without the server's metrics and its count of cached tokens"""
    allowed: frozenset[str] = frozenset()
    """true as well, but not always to be seen"""
    outside_allowed: frozenset[str] = frozenset()


def _one(profile: Profile) -> Profile:
    return Personality(sequential=True).applied(profile)


def _of(
    bound: str, profile: Profile, people: People, levels: tuple[int, ...], *, outside: bool = False, also: str = ""
) -> Regime:
    bounds = frozenset(filter(None, (bound, also)))
    seen = "throughput_limit" if bound == "ceiling" else bound
    allowed = _OUTSIDE if bound in _LIMITED else frozenset()
    return Regime(
        bounds, profile, people, levels, frozenset({seen}) if outside else frozenset(), outside_allowed=allowed
    )


TUNED: dict[str, Regime] = {
    "serial": _of("serialised", _one(DEMO), People(reply=120), (1, 4), outside=True),
    "batch": _of("batch_limit", replace(DEMO, max_num_seqs=4), People(reply=120), (2, 4, 8, 12)),
    "wall": _of("memory_wall", WALL, People(reply=100, reply_spread=0.4), (4, 8, 16, 24)),
    "prefill": _of("prefill_bound", QWEN, People(prompt=3000, reply=20), (1, 4, 16)),
    "busy prompts": _of("prefill_bound", QWEN, People(prompt=1500, reply=200), (1, 8, 16)),
    "ceiling": _of("ceiling", QWEN, People(prompt=60), (1, 48, 90), outside=True),
    "edge": _of("ceiling", LLAMA, People(prompt=1892, shared=1872, reply=430), (4, 24), outside=True),
    "cache": _of("response_cache", DEMO, People(cached=0.8), (2, 8), outside=True),
    "stubs": _of("cut_answers", DEMO, People(first_token_only=True), (2, 8), outside=True),
    "healthy": _of("not_loaded", QWEN, People(prompt=60, reply=150), (1, 2, 4), outside=True),
    "thoughtful": _of("not_loaded", DEMO, People(think=2.0), (2, 8), outside=True),
}
"""what the rules' thresholds were set on"""

HELD_OUT: dict[str, Regime] = {
    "serial, other card": _of("serialised", _one(TI), People(prompt=100), (1, 3), outside=True),
    "serial, thinking": _of("serialised", _one(QWEN), People(prompt=100, think=3.0), (1, 6), outside=True),
    "batch, other card": _of(
        "batch_limit", replace(TI, max_num_seqs=6), People(prompt=100, think=1.0), (2, 6, 12, 20)
    ),
    "batch, experts": _of("batch_limit", replace(MOE, max_num_seqs=16), People(reply=100), (4, 16, 32)),
    "batch of two": _of("batch_limit", replace(LLAMA, max_num_seqs=2), People(prompt=100, reply=60), (1, 2, 5, 8)),
    "wall, other card": _of(
        "memory_wall", replace(TI, kv_pool_bytes=1.2e9), People(prompt=2000, reply=300), (2, 6, 12, 16),
        also="prefill_bound",  # 2,000 tokens read for 300 made: both it is
    ),
    "wall, long answers": _of("memory_wall", LLAMA, People(prompt=200, reply=800), (1, 8, 16, 24)),
    "prefill, other card": _of("prefill_bound", TI, People(prompt=6000, reply=30, prompt_spread=0.3), (1, 4, 12)),
    "ceiling, other card": _of("ceiling", TI, People(prompt=60, reply=150), (1, 48, 96), outside=True),
    "ceiling, experts": _of("ceiling", MOE, People(reply=100), (1, 100, 200)),
    "cache, other card": _of("response_cache", TI, People(prompt=100, cached=0.3), (1, 4), outside=True),
    "stubs, other card": _of("cut_answers", QWEN, People(prompt=100, first_token_only=True), (1, 6), outside=True),
    "healthy, experts": _of("not_loaded", MOE, People(prompt=300), (1, 4, 16), outside=True),
    "healthy, thinking": _of("not_loaded", TI, People(prompt=400, think=4.0), (2, 6, 12), outside=True),
}  # fmt: skip
"""what they were not"""

REGIMES = TUNED | HELD_OUT
