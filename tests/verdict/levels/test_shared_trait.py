"""What the users share who are served worse: named where it tells them from the others, and never by chance."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from worlds import CHAT, evidence, manifest, reply, slow_start, staircase, worker

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.verdict.judge import judge
from probe_ext.verdict.levels.shared_trait import ERROR, Candidate, draw_chance, most_telling
from probe_ext.verdict.values.judgement import Judgement

USERS, WORSE, SECONDS = 16, 4, 120
HOSTS = [worker(id=f"w{n}", host=f"gpu-{n // 2}") for n in range(4)]


def judged(**of_worse: Any) -> Judgement:
    """Four users who wait too long for a third of their replies, with rows that differ from the others'."""
    rows: list[ReplyRow] = []
    for n in range(USERS * SECONDS // 4):
        user, sent = n % USERS, n * 4 / USERS
        slow = user < WORSE and n // USERS % 3 == user % 3
        row = slow_start(user, sent, 2.0) if slow else reply(user, sent)
        of_user = {"worker": f"w{user % 3}", "tokens_in": 100 + user % 5, **(of_worse if user < WORSE else {})}
        rows.append(replace(row, **of_user))
    plan = {"levels": [USERS], "hold": 60.0, "settle": 5.0}
    return judge(evidence(rows, staircase((USERS, SECONDS)), manifest=manifest(plan=plan, workers=HOSTS)), CHAT)


@pytest.mark.parametrize(
    ("of_worse", "trait", "value", "said"),
    [
        ({"worker": "w3"}, "worker", "worker 4 on gpu-1", "all 4 run on worker 4 on gpu-1"),
        ({"kind": "completion"}, "kind", "completion", "all 4 send requests of the kind completion"),
        ({"tokens_in": 1900}, "long_prompts", "1,900", "all 4 have the longest prompts (1,900 tokens on average)"),
        ({"connect": 0.3}, "new_connections", "100 %", "all 4 have the most new connections (100 % of the requests)"),
    ],
)
def test_what_the_worse_users_share_is_named(of_worse: dict[str, Any], trait: str, value: str, said: str) -> None:
    verdict = judged(**of_worse)
    assert verdict.groups is not None
    shared = verdict.groups.shared
    assert shared is not None
    assert (shared.trait, shared.value, shared.having, shared.worse) == (trait, value, WORSE, WORSE)
    assert shared.chance <= ERROR
    assert said in verdict.sentence


def test_a_trait_that_others_have_as_well_is_not_named() -> None:
    verdict = judged()
    assert verdict.groups is not None
    assert verdict.groups.shared is None


def test_the_chance_is_that_of_a_draw() -> None:
    assert draw_chance(4, 4, 4, 8) == pytest.approx(1 / 70)
    assert draw_chance(0, 4, 4, 8) == pytest.approx(1)
    assert draw_chance(3, 4, 4, 8) == pytest.approx(17 / 70)


def test_traits_without_a_meaning_are_seldom_named() -> None:
    """Honest runs: who is worse has nothing to do with any of nine traits."""
    draw, named = np.random.default_rng(1), 0
    for _ in range(1000):
        users = int(draw.integers(8, 60))
        worse = np.arange(users) < draw.integers(2, users // 2)
        traits = [draw.permutation(users) < draw.integers(1, users) for _ in range(9)]
        named += most_telling([Candidate("kind", str(k), having) for k, having in enumerate(traits)], worse) is not None
    assert named <= 1000 * ERROR
