"""Random servers, users and sweeps that no part of the verdict was tuned on; the same salt and number, the same server.

Committed before the estimator was frozen. The study names a commit hash as the salt, so that nobody could have looked
at the servers beforehand.
"""

import math
from itertools import count
from random import Random

from probe_ext.sim.personality import Personality
from probe_ext.sim.profile import Profile
from scripts.study.servers import Case
from scripts.study.truth import measure_shares, needed_share
from scripts.study.virtual.people import LONGEST_SIGMA, People

DEFAULT_SALT = "461e820"
"""the commit that added this module, before the estimator was frozen"""
MIN_BOUNDARY, MAX_BOUNDARY = 2, 72
"""users: below, a sweep has nothing to find; above, the study takes too long"""
GLANCE_S = 45.0
"""seconds per level while looking for the rough boundary"""
REPLY_S = (1.0, 25.0)
"""shortest and longest mean reply of one user alone, seconds"""
_LAYERS, _KV_HEADS, _HEAD_SIZE = 16, 4, 64


def random_server(salt: str, number: int) -> Case:
    """Draw servers until one has its boundary within reach, then a sweep that somebody would try on it."""
    for attempt in count():
        draw = Random(f"{salt}/{number}/{attempt}")  # noqa: S311 - a simulation, not a secret
        profile, people = _draw_profile(draw), _draw_people(draw)
        profile = _with_cache(draw, profile, people)
        rough = _rough_boundary(profile, people) if _replies_in_reach(profile, people) else None
        if rough is not None:
            levels = _draw_levels(draw, rough)
            name = f"random {number}"
            return Case(name, _describe(profile, people), profile, people, levels, hold=draw.choice((20.0, 30.0, 60.0)))
    raise AssertionError("unreachable")


def _draw_profile(draw: Random) -> Profile:
    weights = _log_uniform(draw, 1e9, 3e10)
    active = weights / 2
    profile = Profile(
        name="random", model="random", layers=_LAYERS, kv_heads=_KV_HEADS, head_size=_HEAD_SIZE, hidden_size=2048,
        active_parameters=active, weight_bytes=weights,
        memory_bandwidth=weights * _log_uniform(draw, 16, 110),
        flops=2 * active * _log_uniform(draw, 1500, 30_000),
        step_overhead_s=_log_uniform(draw, 5e-4, 4e-3),
        sequence_overhead_s=_log_uniform(draw, 1e-4, 4e-3),
        frontend_s=_log_uniform(draw, 2e-3, 5e-2),
        gpu_memory_bytes=1e11, max_model_len=16_384,
        max_num_seqs=round(_log_uniform(draw, 3, 128)),
        max_num_batched_tokens=draw.choice((512, 2048, 8192)),
        scheduler_reserve_full_isl=draw.random() < 0.5,
    )  # fmt: skip
    return Personality(sequential=True).applied(profile) if draw.random() < 0.03 else profile


def _draw_people(draw: Random) -> People:
    prompt = round(_log_uniform(draw, 40, 2500))
    shared = round(prompt * draw.uniform(0.1, 0.9)) if draw.random() < 0.4 else 0
    return People(
        prompt=prompt,
        reply=round(_log_uniform(draw, 30, 400)),
        prompt_spread=draw.choice((0.0, 0.3, 0.5)),
        reply_spread=draw.choice((0.1, 0.3, 0.5)),
        shared=shared,
        think=0.0 if draw.random() < 0.4 else _log_uniform(draw, 1, 10),
    )


def _with_cache(draw: Random, profile: Profile, people: People) -> Profile:
    """A cache that holds the longest single request at least."""
    longest = people.prompt * math.exp(LONGEST_SIGMA * people.prompt_spread)
    longest += people.reply * math.exp(LONGEST_SIGMA * people.reply_spread)
    tokens = max(_log_uniform(draw, 2e3, 3e5), 1.2 * longest + 64)
    values = {**_fields(profile), "kv_pool_bytes": tokens * profile.kv_bytes_per_token}
    return Profile(**values)


def _fields(profile: Profile) -> dict[str, object]:
    return {name: getattr(profile, name) for name in profile.__dataclass_fields__}


def _replies_in_reach(profile: Profile, people: People) -> bool:
    alone = people.reply * (profile.weight_bytes / profile.memory_bandwidth + profile.step_overhead_s)
    return REPLY_S[0] <= alone <= REPLY_S[1]


def _rough_boundary(profile: Profile, people: People) -> int | None:
    """The last of a series of levels 40 % apart that is served; None outside MIN_BOUNDARY to MAX_BOUNDARY."""
    last, users = 0, 1
    while users <= 1.4 * MAX_BOUNDARY:
        served, broken = measure_shares(profile, people, users, seed=0, seconds=GLANCE_S)
        if served < needed_share() or broken > 0.01:
            return last if last >= MIN_BOUNDARY else None
        last, users = users, max(users + 1, round(1.4 * users))
    return None


def _draw_levels(draw: Random, rough: int) -> tuple[int, ...]:
    """Doubling, or about evenly spaced, widely or closely, around a guess that may be off."""
    guess = rough * math.exp(draw.gauss(0.15, 0.2))
    style = draw.choice(("doubling", "wide", "wide", "close"))
    if style == "doubling":
        return tuple(2**k for k in range(math.ceil(math.log2(1.3 * guess)) + 1))
    low, high, steps = (0.4, 1.6, 6) if style == "wide" else (0.7, 1.3, 6)
    return tuple(sorted({max(1, round(guess * (low + (high - low) * k / (steps - 1)))) for k in range(steps)}))


def _describe(profile: Profile, people: People) -> str:
    room = profile.num_gpu_blocks * profile.block_size
    return (
        f"{profile.max_num_seqs} at once, {room} tokens of cache, prompts of {people.prompt} tokens "
        f"({people.shared} shared), replies of {people.reply}, {people.think:.1f} s to think"
    )


def _log_uniform(draw: Random, low: float, high: float) -> float:
    return math.exp(draw.uniform(math.log(low), math.log(high)))
