"""Users of several kinds: the same mix at the same number of users, on any number of workers, whatever came before."""

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.swarm.users.kind_dispatcher import KindDispatcher, mix_of, users_number

SHARES = {"chat": 0.5, "file": 0.3, "review": 0.2}


def classes(shares: dict[str, float], fixed: dict[str, int] | None = None) -> list[Any]:
    made = [type(name, (), {"weight": share, "fixed_count": 0}) for name, share in shares.items()]
    return made + [type(name, (), {"weight": 0, "fixed_count": number}) for name, number in (fixed or {}).items()]


def dispatcher(workers: int, kinds: list[Any], told: list[Any] | None = None) -> KindDispatcher:
    nodes = [SimpleNamespace(id=f"host_{number}") for number in range(workers)]
    return KindDispatcher((told if told is not None else []).append, nodes, kinds)


def go(dispatch: KindDispatcher, users: int) -> dict[str, dict[str, int]]:
    """Return the users of each kind on each worker after going to a number of users."""
    dispatch.new_dispatch(users, 1e6)
    *_, last = dispatch
    return last


def totals(on_workers: dict[str, dict[str, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for users in on_workers.values():
        counts.update({name: number for name, number in users.items() if number})
    return counts


@pytest.mark.parametrize("users", [1, 2, 3, 7, 10, 33, 100, 2000])
def test_shares_are_the_same_on_one_worker_and_on_four_and_as_stated(users: int) -> None:
    one, four = (go(dispatcher(workers, classes(SHARES)), users) for workers in (1, 4))
    assert totals(one) == totals(four) == Counter({k: n for k, n in mix_of(users, SHARES, {}).items() if n})
    assert all(abs(totals(one)[name] - share * users) <= 1 for name, share in SHARES.items())
    loads = [sum(counts.values()) for counts in four.values()]
    assert max(loads) - min(loads) <= len(SHARES)


def test_a_level_has_the_same_mix_when_it_is_visited_again() -> None:
    dispatch = dispatcher(3, classes(SHARES, {"batch": 2}))
    seen: dict[int, Counter[str]] = {}
    rng = random.Random(4)
    for users in [5, 12, 3, 12, 40, 5, 40, *(rng.randint(1, 60) for _ in range(60))]:
        mix = totals(go(dispatch, users))
        assert mix == seen.setdefault(users, mix)
        assert mix.total() == users
        assert mix["batch"] == min(2, users)


def test_locusts_own_dispatcher_would_not_keep_the_mix() -> None:
    """The reason for ours: if this changes, it may go."""
    from locust.dispatch import UsersDispatcher  # noqa: PLC0415

    dispatch = UsersDispatcher([SimpleNamespace(id="a")], classes(SHARES))
    mixes = set()
    for _ in range(5):
        mixes.add(tuple(sorted(totals(go(dispatch, 7)).items())))
        go(dispatch, 2)
    assert len(mixes) > 1


def test_a_lost_worker_leaves_the_mix_and_new_numbers() -> None:
    told: list[Any] = []
    dispatch = dispatcher(3, classes(SHARES), told)
    before = totals(go(dispatch, 20))
    dispatch.remove_worker(SimpleNamespace(id="host_1"))
    after = go(dispatch, 20)
    assert totals(after) == before
    assert set(after) == {"host_0", "host_2"}
    assert [one["epoch"] for one in told] == [0, 1]
    assert told[1]["workers"] == ["host_0", "host_2"]


@pytest.mark.parametrize("workers", [1, 2, 4, 7])
def test_numbers_of_users_are_those_of_one_worker(workers: int) -> None:
    """Each kind's users are 0 to n-1, whichever worker runs them."""
    kinds = classes(SHARES)
    on_workers = go(dispatcher(workers, kinds), 57)
    for place, kind in enumerate(kinds):
        numbers = [
            users_number(nth, place, worker, workers)
            for worker in range(workers)
            for nth in range(on_workers[f"host_{worker}"][kind.__name__])
        ]
        assert sorted(numbers) == list(range(len(numbers)))


def test_small_shares_come_when_they_are_due() -> None:
    assert mix_of(9, {"big": 0.95, "small": 0.05}, {}) == {"big": 9, "small": 0}
    assert mix_of(12, {"big": 0.95, "small": 0.05}, {}) == {"big": 11, "small": 1}
    assert mix_of(40, {"big": 0.95, "small": 0.05}, {}) == {"big": 38, "small": 2}
    assert mix_of(5, {}, {"a": 2, "b": 1}) == {"a": 2, "b": 1}
