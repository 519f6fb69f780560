"""The engine of the study against the one that the simulated server runs: the same replies, gaps and metrics."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Request, Step
from probe_ext.sim.personality import Personality
from probe_ext.sim.profile import Profile, load_profile
from scripts.study.virtual.fast_engine import FastEngine
from scripts.study.virtual.people import People
from scripts.study.virtual.reply_notes import Notes
from scripts.study.virtual.server_book import ServerBook
from scripts.study.virtual.swarm import Swarm
from scripts.study.virtual.virtual_run import Run, drive

DEMO, WALL = load_profile("demo"), load_profile("demo-wall")
CARD = load_profile("rtx3060-qwen2.5-7b-awq")
CARD = replace(CARD, max_num_batched_tokens=300, flops=CARD.flops / 5)
SAID = tuple(range(500_000_000, 500_010_000))
SERVERS = {
    "batch limit": (DEMO, People(), 12),
    "one after another": (Personality(sequential=True).applied(DEMO), People(reply=40), 3),
    "preemptions": (WALL, People(reply=100, reply_spread=0.4), 16),
    "shared prefix": (replace(WALL, scheduler_reserve_full_isl=False), People(prompt=300, shared=130, reply=60), 14),
    "prompts in chunks": (CARD, People(prompt=700, prompt_spread=0.5, reply=50, think=1.0), 9),
    "whole prompts": (replace(CARD, chunked_prefill=False), People(prompt=400, reply=1), 6),
    "shared prefix, preemptions": (WALL, People(prompt=200, shared=100, reply=150, reply_spread=0.5), 24),
    "shared prefix in chunks": (CARD, People(prompt=900, shared=500, prompt_spread=0.3, reply=40, think=0.5), 12),
    "no prefix cache": (replace(WALL, prefix_caching=False), People(reply_spread=0.5), 12),
}


class _NotingEngine(Engine):
    """The simulated server's engine, with what its clients see."""

    def __init__(self, profile: Profile, shared: int) -> None:
        super().__init__(profile)
        self._shared = tuple(range(shared))
        self._seen: defaultdict[int, list[float]] = defaultdict(list)

    def add(self, number: int, arrival: float, prompt: int, reply: int) -> None:  # type: ignore[override]
        own = tuple(range(1_000_000 * number, 1_000_000 * number + prompt - len(self._shared)))
        super().add(Request(number, arrival, self._shared + own, SAID[:reply], "stop"))

    def step(self) -> Step | None:
        step = super().step()
        for output in step.outputs if step else ():
            self._seen[output.request_id].append(self.now)
        return step

    def step_quietly(self, until: float, on_step: object) -> None:
        """Take every step the long way."""

    def note_tokens(self, notes: Notes) -> None:
        for at in self._seen.pop(notes.number, ()):
            notes.token(at)


class _StepwiseSwarm(Swarm):
    def __init__(self, profile: Profile, people: People, seed: int, on_reply: Callable[[ReplyRow], None]) -> None:
        super().__init__(profile, people, seed, on_reply)
        engine = _NotingEngine(profile, people.shared)
        self.engine, self.server = engine, ServerBook(engine)  # type: ignore[assignment]


@pytest.mark.parametrize("name", SERVERS)
def test_both_engines_make_the_same_run(name: str) -> None:
    profile, people, users = SERVERS[name]

    def target(now: float, _users: int) -> int | None:
        return None if now > 24 else users if now < 16 else users // 2

    fast, slow = (drive(Run(profile, people), 7, target, lambda _: None, swarm) for swarm in (Swarm, _StepwiseSwarm))
    assert len(fast.replies) > users
    assert (fast.replies, fast.gaps, fast.server, fast.tokens) == (slow.replies, slow.gaps, slow.server, slow.tokens)
    if "preemptions" in name:
        assert max(row.value for row in fast.server if row.quantity == "preemptions") > 0
    if name == "prompts in chunks":
        assert fast.gaps


def test_a_profile_that_it_would_not_simulate_is_refused() -> None:
    with pytest.raises(ValueError, match="max_num_seqs"):
        FastEngine(replace(DEMO, max_num_batched_tokens=DEMO.max_num_seqs - 1))
