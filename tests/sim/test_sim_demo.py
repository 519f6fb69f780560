"""The demo profile: eight users are served well, sixteen wait a whole reply for their turn."""

from random import Random

import pytest

from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Finished, Request
from probe_ext.sim.profile import load_profile

RUN_S = 30.0
RAMP_S = 8.0


def simulate_users(users: int) -> list[Finished]:
    """Simulate users without think time on virtual time; return the requests that arrived after the ramp."""
    engine, rng, sent = Engine(load_profile("demo")), Random(users), 0
    done: list[Finished] = []

    def send(now: float) -> None:
        nonlocal sent
        sent += 1
        prompt = tuple(rng.randrange(100_000) for _ in range(200))
        engine.add(Request(sent, now, prompt, tuple(range(rng.randint(60, 100)))))

    for _ in range(users):
        send(0.0)
    while engine.now < RUN_S:
        step = engine.step()
        assert step is not None
        for finished in step.finished:
            done.append(finished)
            send(step.end)
    return [finished for finished in done if finished.arrival > RAMP_S]


@pytest.mark.parametrize("users", [1, 2, 4, 8])
def test_up_to_eight_users_are_served(users: int) -> None:
    for reply in simulate_users(users):
        assert reply.first - reply.arrival < 0.5
        assert (reply.reply_tokens - 1) / (reply.last - reply.first) > 25
        assert reply.preemptions == 0


def test_sixteen_users_queue() -> None:
    waits = [reply.first - reply.arrival for reply in simulate_users(16)]
    assert sum(wait > 1.2 for wait in waits) > 0.9 * len(waits)
