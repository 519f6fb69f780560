"""No two parts of a judgement disagree, whatever the run; and neither order nor names matter."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from one_answer import check_one_answer
from worlds import CHAT, asked, evidence, manifest, reply, slow_start, staircase, worker

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.judge import judge

pytestmark = pytest.mark.untraced

BROKEN = {"outcome": Outcome.HTTP_ERROR, "first": None, "tpot": None, "tokens_out": None, "longest_gap": None}
BAD: list[dict[str, Any]] = [{"wait": 2.0}, {"tpot": 0.15}, {"longest_gap": 3.0}, BROKEN]


def random_rows(rng: np.random.Generator) -> tuple[list[ReplyRow], list[tuple[int, float]]]:
    """Draw a run: levels up and down, falling or any shares, broken replies, worse users, a bad stretch."""
    count = int(rng.integers(1, 6))
    users = np.unique(rng.integers(1, int(rng.choice([4, 12, 32])) + 1, count))
    if rng.random() < 0.3:
        users = rng.permutation(users)
    steps = [(int(n), float(rng.integers(8, 60))) for n in users]
    if rng.random() < 0.4 and len(steps) > 1:
        steps.append((steps[0][0], steps[0][1]))
    crossing, slope = rng.uniform(1, 30), rng.choice([0.1, 0.5, 3.0])
    any_share = rng.random() < 0.2
    broken, worse = rng.choice([0.0, 0.0, 0.005, 0.03]), rng.choice([0, 0, 0, 2])
    kind = BAD[int(rng.integers(len(BAD)))]
    rows: list[ReplyRow] = []
    start = 0.0
    for n, seconds in steps:
        share = rng.random() if any_share else 1 / (1 + np.exp(slope * (n - crossing) - 2.2))
        bad = start + rng.uniform(0, seconds) if rng.random() < 0.15 else np.inf
        for user, t in asked(n, start, seconds):
            chance = 0.3 if user < worse or bad <= t < bad + 15 else share
            rows.append(_reply(user, t, kind, good=rng.random() < chance, broken=rng.random() < broken))
        start += seconds
    return rows, steps


def _reply(user: int, t: float, kind: dict[str, Any], *, good: bool, broken: bool) -> ReplyRow:
    if broken:
        return reply(user, t, **BROKEN)
    if good:
        return reply(user, t)
    return slow_start(user, t, kind["wait"]) if "wait" in kind else reply(user, t, **kind)


def random_run(seed: int) -> tuple[list[ReplyRow], list[tuple[int, float]], dict[str, Any]]:
    """Draw a run and its manifest: planned or by hand, complete or with rows missing."""
    rng = np.random.default_rng([20_261_129, seed])
    rows, steps = random_rows(rng)
    lost = 9 if rng.random() < 0.1 else 0
    changes: dict[str, Any] = {"plan": None} if rng.random() < 0.2 else {}
    return rows, steps, manifest(workers=[worker(started=len(rows) + lost)], **changes)


def run_of(rows: list[ReplyRow], steps: list[tuple[int, float]], stated: dict[str, Any]) -> Evidence:
    return evidence(rows, staircase(*steps), manifest=stated)


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(n, marks=pytest.mark.long) for n in range(12, 60))])
def test_no_two_parts_of_a_judgement_disagree(seed: int) -> None:
    check_one_answer(judge(run_of(*random_run(seed)), CHAT))


@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(n, marks=pytest.mark.long) for n in range(5, 12))])
def test_neither_the_order_of_rows_nor_the_names_of_users_matter(seed: int) -> None:
    rows, steps, stated = random_run(seed)
    names = np.random.default_rng(seed).permutation(40)
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    renamed = [replace(row, user=f"w1:user {names[int(row.user.partition(':')[2])]}") for row in shuffled]
    first = judge(run_of(rows, steps, stated), CHAT)
    assert judge(run_of(shuffled, steps, stated), CHAT).to_json() == first.to_json()
    assert judge(run_of(renamed, steps, stated), CHAT).to_json() == first.to_json()
