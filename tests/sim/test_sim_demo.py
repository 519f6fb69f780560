"""The demo profile tells its story: eight users are served well, sixteen wait a whole answer for their turn."""

from random import Random

import pytest

from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Finished, Request
from probe_ext.sim.profile import load_profile

RUN_S = 30.0
SETTLED_S = 8.0


def crowd(users: int) -> list[Finished]:
    """Users that ask again the moment they are answered, on virtual time; replies asked after the start-up rush."""
    engine, rng, asked = Engine(load_profile("demo")), Random(users), 0
    done: list[Finished] = []

    def ask(now: float) -> None:
        nonlocal asked
        asked += 1
        prompt = tuple(rng.randrange(100_000) for _ in range(200))
        engine.add(Request(asked, now, prompt, tuple(range(rng.randint(60, 100)))))

    for _ in range(users):
        ask(0.0)
    while engine.now < RUN_S:
        step = engine.step()
        assert step is not None
        for finished in step.finished:
            done.append(finished)
            ask(step.end)
    return [finished for finished in done if finished.arrival > SETTLED_S]


@pytest.mark.parametrize("users", [1, 2, 4, 8])
def test_up_to_eight_users_are_served(users: int) -> None:
    for reply in crowd(users):
        assert reply.first - reply.arrival < 0.5
        assert (reply.reply_tokens - 1) / (reply.last - reply.first) > 25
        assert reply.preemptions == 0


def test_sixteen_users_wait_for_their_turn() -> None:
    waits = [reply.first - reply.arrival for reply in crowd(16)]
    assert sum(wait > 1.2 for wait in waits) > 0.9 * len(waits)
