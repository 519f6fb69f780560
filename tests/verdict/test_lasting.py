"""The long run: chance in a user's few replies is taken out, what is a user's own is not."""

from random import Random

import numpy as np
import pytest
from worlds import CHAT, evidence, slow_start, staircase

from probe_ext.settings.slo import Users
from probe_ext.verdict.grading.user_grades import BROKEN_USER, SERVED, STRAINED_USER, Counts, classify
from probe_ext.verdict.inference import bootstrap
from probe_ext.verdict.inference.shrinkage import classify_lasting
from probe_ext.verdict.judge import judge


def counts(judged: list[int], strained: list[int], broken: list[int] | None = None) -> Counts:
    return Counts(np.array([judged]), np.array([strained]), np.array([broken or [0] * len(judged)]))


def kinds(one: Counts, weights: list[int] | None = None) -> list[int]:
    """Of one replicate that drew what was seen."""
    seen = Counts(one.judged[0], one.strained[0], one.broken[0])
    of_people = np.array([weights or [1] * len(one.judged[0])])
    return [int(kind) for kind in classify_lasting(one, of_people, seen, Users())[0]]


def test_users_who_differ_by_chance_alone_are_all_alike() -> None:
    """Twenty users, of whom three missed two of ten and six missed one: 94 % of all replies are served."""
    level = counts([10] * 20, [2] * 3 + [1] * 6 + [0] * 11)
    assert (classify(level, Users())[0] == STRAINED_USER).sum() == 3
    assert kinds(level) == [SERVED] * 20


def test_who_is_ill_served_all_along_stays_so() -> None:
    assert kinds(counts([10] * 20, [10] + [0] * 19)) == [STRAINED_USER] + [SERVED] * 19


def test_where_too_few_are_served_nobody_is() -> None:
    assert set(kinds(counts([10] * 20, [2, 1] * 10))) == {STRAINED_USER}


def test_broken_replies_are_counted_over_all() -> None:
    assert set(kinds(counts([50] * 4, [0] * 4, [1, 1, 0, 0]))) == {SERVED}, "one in a hundred"
    assert set(kinds(counts([50] * 4, [0] * 4, [1, 1, 1, 0]))) == {BROKEN_USER}


def test_users_count_as_often_as_they_were_drawn() -> None:
    level = counts([10] * 4, [1, 1, 1, 2])
    assert set(kinds(level)) == {STRAINED_USER}
    assert set(kinds(level, [2, 1, 1, 0])) == {SERVED}


@pytest.mark.parametrize("judged", [[0, 0], [1, 0], [1, 1]])
def test_hardly_any_replies_are_no_trouble(judged: list[int]) -> None:
    assert set(kinds(counts(judged, [0, 0]))) <= {SERVED, STRAINED_USER}


def test_a_level_that_fails_by_chance_alone_is_not_ruled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty replies each, of which 91 % are served, whoever asks: now and then a user misses more than four."""
    random = Random(3)
    asked = [(user, 5.5 + 3.0 * k) for k in range(40) for user in range(20)]
    run = evidence([slow_start(*one, 2.0 if random.random() < 0.09 else 0.2) for one in asked], staircase((20, 130)))
    verdict = judge(run, CHAT)
    assert (verdict.levels[0].state, verdict.served_users) == ("failed", 0)
    assert verdict.interval == (0, None)
    monkeypatch.setattr(bootstrap, "_where", lambda _, lasting, felt: felt)
    assert judge(run, CHAT).interval == (0, 19), "by each user's few replies it would be"
