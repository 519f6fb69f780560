"""Does throughput still grow with the batch? Levels that are too near, too short, or in the other order of time."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.verdict.diagnosis.facts.drift import Drift
from probe_ext.verdict.diagnosis.rules.ruling import longer_levels
from probe_ext.verdict.diagnosis.rules.throughput import ceiling, server_slope


def load(users: int, tokens_per_s: float, error: float | None, start: float = 0.0, seconds: float = 20.0) -> Any:
    """Return a level at which the server ran as many requests as there were users."""
    return SimpleNamespace(
        users=users, t_start=start, t_end=start + seconds, tokens_per_s=tokens_per_s, tokens_error=error, tpot=None,
        server=SimpleNamespace(running=float(users), tokens_per_s=tokens_per_s), out_of_memory=False, kv_max=0.1,
        longest_gap=None, gpus=SimpleNamespace(calm=False, busy=None, busiest=None, at_power_limit=False),
    )  # fmt: skip


def facts(*loads: Any, drift: Drift | None = None) -> Any:
    return SimpleNamespace(loads=loads, drift=drift, reported=frozenset({"kv_usage"}), engine="vllm")


def test_a_level_further_below_shows_what_a_near_one_cannot() -> None:
    """4, 12 and 16 users at 205, 252 and 259 tokens/s, as seen on a real server: 12 and 16 are too near to tell."""
    near = facts(load(12, 252.0, 0.1), load(16, 259.0, 0.1))
    assert ceiling(near).state == "unknown"
    both = facts(load(4, 205.0, 0.1), load(12, 252.0, 0.1), load(16, 259.0, 0.1))
    found = ceiling(both)
    assert (found.state, found.from_users) == ("holds", 12)
    assert found.why.startswith("4.0 times the batch size")


def test_a_level_further_below_does_not_hide_that_throughput_grows() -> None:
    """From 1 user to 16 it grew too little to be sure of, but the last stretch may have been as steep as it can be."""
    rising = facts(load(4, 100.0, 0.1), load(12, 190.0, 0.1), load(16, 200.0, 0.1))
    assert ceiling(rising).state == "unknown"
    steep = server_slope([load(1, 150.0, 0.01), load(8, 160.0, 0.01), load(16, 310.0, 0.01)])
    assert steep is not None
    assert steep.low.load.users == 8, "a clear slope needs no other"


@pytest.mark.parametrize(("start_of_larger", "state"), [(300.0, "unknown"), (-300.0, "holds")])
def test_only_a_larger_batch_that_came_later_may_be_slowed_down(start_of_larger: float, state: str) -> None:
    slowing = Drift(rate=0.0, error=0.005, rising=0.5, source="server")
    run = facts(load(4, 205.0, 0.02), load(16, 215.0, 0.02, start_of_larger), drift=slowing)
    assert ceiling(run).state == state


@pytest.mark.parametrize(
    ("seconds", "too_large", "said"),
    [(17.0, 2.0, "(--hold 70)"), (17.0, 1.01, "(--hold 40)"), (20.0, 9.0, "(--hold 600 or more)")],
)
def test_longer_levels_say_how_long(seconds: float, too_large: float, said: str) -> None:
    assert longer_levels([load(4, 1.0, 0.1, seconds=seconds)], too_large) == f"longer levels {said}"


def test_what_is_needed_is_longer_than_what_there_was() -> None:
    found = ceiling(facts(load(8, 250.0, 0.15), load(16, 252.0, 0.15)))
    assert found.needs == "longer levels (--hold 40)"
    in_forty = 0.15 / math.sqrt(2)
    assert ceiling(facts(load(8, 250.0, in_forty), load(16, 252.0, in_forty))).state == "holds"
