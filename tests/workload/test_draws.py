"""Draws of users: as often as stated, the same in every process, and each independent of the others."""

import math
import subprocess
import sys
from collections import Counter

import pytest

from probe_ext.workload.draws import Draws, pick
from probe_ext.workload.user_kind import UserKind

KIND = UserKind(
    name="chat",
    prompts={"tokens": {"uniform": [10, 19]}},
    turns={"uniform": [1, 4]},
    think_time={"exponential": {"mean": "30s"}},
    output_tokens=50,
    stream=0.3,
    model={"zipf": {"names": ["a", "b", "c"], "s": 1}},
)
SEED = 7


def test_streaming_share_models_and_turns_occur_as_often_as_stated() -> None:
    users = [Draws(KIND, SEED, user) for user in range(50)]
    requests = [user.request(number) for user in users for number in range(80)]
    assert sum(bool(request.streamed) for request in requests) / len(requests) == pytest.approx(0.3, abs=0.03)
    assert Counter(request.prompt_tokens for request in requests).keys() == set(range(10, 20))
    assert {request.output_tokens for request in requests} == {50}
    models = Counter(user.model(number) for user in users for number in range(80))
    total = 1 + 1 / 2 + 1 / 3
    for name, weight in (("a", 1), ("b", 1 / 2), ("c", 1 / 3)):
        assert models[name] / len(requests) == pytest.approx(weight / total, abs=0.03)
    turns = Counter(user.turns(number) for user in users for number in range(80))
    assert all(turns[n] / len(requests) == pytest.approx(0.25, abs=0.03) for n in (1, 2, 3, 4))


def test_pauses_have_the_stated_mean() -> None:
    users = [Draws(KIND, SEED, user) for user in range(2000)]
    assert sum(user.pause(1) for user in users) / 2000 == pytest.approx(30, rel=0.08)
    assert sum(user.pause(0) for user in users) / 2000 == pytest.approx(30, rel=0.08)
    assert len({user.pause(1) for user in users}) == 2000


@pytest.mark.parametrize(
    ("think_time", "mean"),
    [  # E[pause²] / (2 E[pause]): what is left at a random moment
        ({"exponential": {"mean": 30}}, 30),
        ({"uniform": [0, 30]}, 10),
        ({"empirical": {"values": [10, 30]}}, 12.5),
        (30, 15),
        (0, 0),
    ],
)
def test_users_join_at_a_random_moment_of_their_pauses(think_time: object, mean: float) -> None:
    kind = UserKind.model_validate({"name": "chat", "think_time": think_time})
    rests = [Draws(kind, SEED, user).rest_of_pause(0) for user in range(2000)]
    assert sum(rests) / 2000 == pytest.approx(mean, rel=0.08)


def test_a_team_that_joins_asks_as_often_at_first_as_later() -> None:
    rests = [Draws(KIND, SEED, user).rest_of_pause(0) for user in range(3000)]
    assert sum(rest < 10 for rest in rests) / 3000 == pytest.approx(1 - math.exp(-1 / 3), abs=0.03)


def test_draws_do_not_depend_on_their_order_or_their_process() -> None:
    one, other = Draws(KIND, SEED, 3), Draws(KIND, SEED, 3)
    expected = [one.request(number) for number in range(20)]
    assert [other.request(number) for number in reversed(range(20))] == expected[::-1]
    code = (
        "from probe_ext.workload.draws import uniform_share\n"
        "print([uniform_share('prompt', 7, 'chat', user, 5) for user in range(3)])"
    )
    outside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Computed once and written down: another version must not send other requests for the same seed.
    assert outside.stdout.strip() == "[0.9983259389397064, 0.6028663290778188, 0.5854829441318238]"


def test_another_seed_kind_or_user_draws_anew() -> None:
    def first(draws: Draws) -> list[float]:
        return [draws.pause(number) for number in range(1, 6)]

    base = first(Draws(KIND, SEED, 3))
    other_kind = KIND.model_copy(update={"name": "other"})
    assert base not in [first(Draws(KIND, 8, 3)), first(Draws(KIND, SEED, 4)), first(Draws(other_kind, SEED, 3))]


def test_pick_takes_the_last_name_where_rounding_leaves_a_gap() -> None:
    assert pick({"a": 0.3, "b": 0.7 - 1e-12}, 0.9999999999999999) == "b"
    assert [pick({"a": 0.3, "b": 0.7}, share) for share in (0.0, 0.2999, 0.3, 0.99)] == ["a", "a", "b", "b"]
