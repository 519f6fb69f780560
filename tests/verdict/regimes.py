"""Runs whose truth is known, on the simulated server's engine and virtual time: who is bounded by what.

Tuned on `demo`, `demo-wall` and the RTX 3060's profiles; the others are held out.
"""

from dataclasses import replace
from functools import cache

import numpy as np
from worlds import CHAT

from probe_ext.sim.personality import Personality
from probe_ext.sim.profile import Profile, load_profile
from probe_ext.verdict.diagnosed import Ruling
from probe_ext.verdict.evidence import Evidence
from probe_ext.verdict.judge import judge
from probe_ext.verdict.judgement import Judgement
from scripts.study.people import People
from scripts.study.virtual_run import hold_levels

DEMO = load_profile("demo")
WALL = load_profile("demo-wall")
QWEN = load_profile("rtx3060-qwen2.5-7b-awq")
LLAMA = load_profile("rtx3060-llama2-7b-gptq")
TI = load_profile("rtx5060ti-qwen2.5-7b-awq")
MOE = load_profile("a100-moe-35b-int4")


def one_at_a_time(profile: Profile) -> Profile:
    return Personality(sequential=True).applied(profile)


REGIMES: dict[str, tuple[Profile, People, tuple[int, ...]]] = {
    "serial": (one_at_a_time(DEMO), People(reply=120), (1, 4)),
    "batch": (replace(DEMO, max_num_seqs=4), People(reply=120), (2, 4, 8, 12)),
    "wall": (WALL, People(reply=100, reply_spread=0.4), (4, 8, 16, 24)),
    "prefill": (QWEN, People(prompt=3000, reply=20), (1, 4, 16)),
    "ceiling": (QWEN, People(prompt=60), (1, 32, 64, 90)),
    "cache": (DEMO, People(cached=0.8), (2, 8)),
    "stubs": (DEMO, People(first_token_only=True), (2, 8)),
    "healthy": (QWEN, People(prompt=60, reply=150), (1, 2, 4)),
    "thoughtful": (DEMO, People(think=2.0), (2, 8)),
    "busy prompts": (QWEN, People(prompt=1500, reply=200), (1, 8, 16)),
    "edge": (LLAMA, People(prompt=1892, shared=1872, reply=430), (4, 24)),
    # held out
    "serial, other card": (one_at_a_time(TI), People(prompt=100), (1, 3)),
    "batch, other card": (replace(TI, max_num_seqs=6), People(prompt=100, think=1.0), (2, 6, 12, 20)),
    "wall, other card": (replace(TI, kv_pool_bytes=1.2e9), People(prompt=2000, reply=300), (2, 6, 12, 16)),
    "prefill, other card": (TI, People(prompt=6000, reply=30, prompt_spread=0.3), (1, 4, 12)),
    "ceiling, other card": (TI, People(prompt=60, reply=150), (1, 48, 96)),
    "healthy, other card": (MOE, People(prompt=300), (1, 4, 16)),
    "ceiling, experts": (MOE, People(prompt=200, reply=100), (1, 100, 200)),
    "batch, experts": (replace(MOE, max_num_seqs=16), People(prompt=200, reply=100), (4, 16, 32)),
}


@cache
def evidence_of(name: str) -> Evidence:
    profile, people, levels = REGIMES[name]
    return hold_levels(profile, people, levels, seed=7, hold=20.0).evidence


def blind(evidence: Evidence) -> Evidence:
    """The same run at a server without metrics, whose replies do not tell what came from its cache."""
    replies = {**evidence.replies, "tokens_cached": np.full(len(evidence.replies["sent"]), np.nan)}
    return replace(evidence, server={}, replies=replies, manifest={**evidence.manifest, "server": []})


@cache
def judged(name: str, *, seen: bool = True) -> Judgement:
    evidence = evidence_of(name)
    return judge(evidence if seen else blind(evidence), CHAT)


def ruling(judgement: Judgement, rule: str) -> Ruling:
    return next(one for one in judgement.diagnosis.rules if one.rule == rule)
