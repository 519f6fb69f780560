"""The scheduler on virtual time: nothing is lost, nobody starves, and preemption is what vLLM's is."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_helpers import BLOCK, ask, play, tiny

from probe_ext.sim.engine.request_state import Life
from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Request
from probe_ext.sim.profile import Profile

requests = st.lists(
    st.tuples(st.integers(1, 60), st.integers(1, 60), st.floats(0, 2), st.integers(0, 3)), min_size=1, max_size=25
)


def load(drawn: list[tuple[int, int, float, int]]) -> list[Request]:
    arrivals = sorted(arrival for _, _, arrival, _ in drawn)
    return [
        ask(number, arrival, prompt, reply, salt)
        for number, (arrival, (prompt, reply, _, salt)) in enumerate(zip(arrivals, drawn, strict=True), 1)
    ]


@given(requests, st.integers(31, 90), st.booleans(), st.sampled_from([16, 64]))
def test_every_token_once_and_every_block_back(
    drawn: list[tuple[int, int, float, int]], blocks: int, caching: bool, budget: int
) -> None:
    wanted = load(drawn)
    story = play(tiny(blocks, prefix_caching=caching, max_num_batched_tokens=budget), wanted)
    assert story.tokens == {request.id: list(range(len(request.reply))) for request in wanted}
    assert story.ends.keys() == {request.id for request in wanted}
    assert story.engine.pool.free == blocks
    assert story.engine.pool.usage == 0


@given(requests, st.integers(31, 60))
def test_counters_add_up_to_what_happened(drawn: list[tuple[int, int, float, int]], blocks: int) -> None:
    wanted = load(drawn)
    story = play(tiny(blocks), wanted)
    prompts, replies = sum(len(r.prompt) for r in wanted), sum(len(r.reply) for r in wanted)
    tallies = [step.tally for step in story.steps]
    assert sum(tally.prompt_tokens for tally in tallies) == prompts
    assert sum(tally.queries for tally in tallies) == prompts  # once a request, however often it was preempted
    assert sum(tally.reply_tokens for tally in tallies) == replies
    assert sum(tally.hits for tally in tallies) == sum(done.cached_tokens for done in story.ends.values())
    assert sum(sum(tally.gaps.values()) for tally in tallies) == replies - len(wanted)
    assert sum(tally.preemptions for tally in tallies) == len(story.preempted)
    assert Counter(story.preempted) == Counter({n: d.preemptions for n, d in story.ends.items() if d.preemptions})


@given(requests, st.integers(31, 60))
def test_the_same_input_gives_the_same_run(drawn: list[tuple[int, int, float, int]], blocks: int) -> None:
    assert play(tiny(blocks), load(drawn)).steps == play(tiny(blocks), load(drawn)).steps


@given(requests, st.integers(31, 90), st.sampled_from([3, 16]))
def test_first_come_is_first_admitted_under_any_pressure(
    drawn: list[tuple[int, int, float, int]], blocks: int, places: int
) -> None:
    story = play(tiny(blocks, max_num_seqs=places), load(drawn))
    admitted = [story.ends[number].scheduled for number in sorted(story.ends)]
    assert admitted == sorted(admitted)
    assert max(step.snapshot.running for step in story.steps) <= places


class Watched(Engine):
    """An engine that looks at itself whenever it preempts: how many blocks are free, and who runs on."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self.seen: list[tuple[int, bool]] = []

    def _preempt(self, victim: Life) -> None:
        youngest = all(victim.request.id > other.request.id for other in self._running)
        self.seen.append((self.pool.free, youngest))
        super()._preempt(victim)


@given(requests, st.integers(31, 60), st.booleans())
def test_only_the_youngest_is_preempted_and_only_when_no_block_is_left(
    drawn: list[tuple[int, int, float, int]], blocks: int, caching: bool
) -> None:
    # No prompt is cut into chunks here, so whoever runs wants one block at most.
    engine = Watched(tiny(blocks, prefix_caching=caching, max_num_batched_tokens=4096))
    for request in load(drawn):
        engine.add(request)
    preempted = 0
    while (step := engine.step()) is not None:
        preempted += len(step.preempted)
    assert engine.seen == [(0, True)] * preempted


@pytest.mark.parametrize("whole", [True, False])
def test_a_prompt_is_let_in_where_all_of_it_fits_or_its_first_chunk_as_told(whole: bool) -> None:
    profile = tiny(40, max_num_batched_tokens=16, prefix_caching=False, scheduler_reserve_full_isl=whole)
    story = play(profile, [ask(1, prompt=80, reply=60), ask(2, prompt=100, reply=2)])
    assert (story.ends[2].scheduled >= story.ends[1].last) is whole
    assert (story.preempted == []) is whole


def test_preemption_waits_until_the_last_block_is_gone() -> None:
    profile = tiny(30, prefix_caching=False)
    engine = Engine(profile)
    for number in range(1, 5):
        engine.add(ask(number, prompt=20, reply=30))
    free = engine.pool.free
    while (step := engine.step()) is not None:
        if step.preempted:
            assert free < len(step.outputs) + len(step.preempted)
            assert step.preempted[0] == 4  # the youngest
            break
        free = engine.pool.free
    else:
        pytest.fail("never preempted")
    assert step.snapshot.waiting == 1
    assert step.snapshot.kv_usage > 0.7


def test_a_step_that_preempts_lets_nobody_in() -> None:
    # A chunk of the victim's prompt would fit into the blocks it leaves; vLLM lets it wait for the next step.
    profile = tiny(30, prefix_caching=False, max_num_batched_tokens=8, scheduler_reserve_full_isl=False)
    story = play(profile, [ask(n, prompt=20, reply=30) for n in range(1, 5)])
    stayed = [
        (before.snapshot.running - len(step.preempted) - len(step.finished), step.snapshot.running)
        for before, step in itertools.pairwise(story.steps)
        if step.preempted
    ]
    assert stayed
    assert all(expected == running for expected, running in stayed)


def test_a_preempted_request_is_silent_and_is_counted_when_it_speaks_again() -> None:
    story = play(tiny(30, prefix_caching=False), [ask(n, prompt=20, reply=30) for n in range(1, 5)])
    struck = next(step for step in story.steps if step.preempted)
    victim = struck.preempted[0]
    later = [step for step in story.steps if step.start >= struck.end]
    back = next(step for step in later if any(o.request_id == victim for o in step.outputs))
    between = [step for step in later if step.end < back.end]
    assert len(between) > 3
    assert struck.tally.preemptions == 0
    assert back.tally.preemptions >= 1
    assert all(step.snapshot.waiting >= 1 for step in between[:-1])


def test_a_preemption_is_never_counted_if_the_victim_leaves() -> None:
    engine = Engine(tiny(30, prefix_caching=False))
    for number in range(1, 5):
        engine.add(ask(number, prompt=20, reply=30))
    counted = 0
    gone: set[int] = set()
    while (step := engine.step()) is not None:
        counted += step.tally.preemptions
        for victim in step.preempted:
            engine.abort(victim)
            gone.add(victim)
    assert gone
    assert counted == 0
    assert engine.pool.usage == 0


def test_kv_usage_leaves_the_null_block_out() -> None:
    engine = Engine(tiny(64))
    engine.add(ask(1, prompt=3, reply=1_0))
    step = engine.step()
    assert step is not None
    assert engine.profile.num_gpu_blocks == 65
    assert step.snapshot.kv_usage == 1 / 64


def test_a_long_prompt_is_computed_in_chunks_beside_running_ones() -> None:
    profile = tiny(100, max_num_batched_tokens=32)
    story = play(profile, [ask(1, prompt=4, reply=40), ask(2, 0.02, prompt=150, reply=2)])
    alone = story.ends[2]
    between = [step for step in story.steps if alone.scheduled < step.end < alone.first]
    assert len(between) >= 4
    assert all(any(output.request_id == 1 for output in step.outputs) for step in between)


def test_without_chunking_a_prompt_waits_for_a_step_that_takes_it_whole() -> None:
    profile = tiny(100, max_num_batched_tokens=32, chunked_prefill=False)
    story = play(profile, [ask(1, prompt=30, reply=3), ask(2, prompt=30, reply=3), ask(3, prompt=90, reply=3)])
    firsts = [story.ends[number].first for number in (1, 2, 3)]
    assert firsts == sorted(set(firsts))


def test_more_requests_than_places_wait_a_whole_reply() -> None:
    story = play(tiny(200, max_num_seqs=2), [ask(n, prompt=8, reply=20) for n in range(1, 5)])
    assert max(step.snapshot.running for step in story.steps) == 2
    assert story.steps[0].snapshot.waiting == 2
    assert story.ends[3].scheduled >= story.ends[1].last
    assert story.preempted == []


def test_a_shared_prompt_is_computed_once_even_in_one_step() -> None:
    story = play(tiny(200), [ask(n, prompt=41, reply=2, salt=1) for n in range(1, 4)])
    assert [story.ends[n].cached_tokens for n in (1, 2, 3)] == [0, 40, 40]


def test_a_repeated_prompt_is_never_cached_whole() -> None:
    story = play(tiny(200), [ask(1, prompt=40, reply=2, salt=1), ask(2, 5.0, prompt=40, reply=2, salt=1)])
    assert story.ends[2].cached_tokens == 40 - BLOCK


def test_with_caching_off_nothing_is_found_or_looked_for_in_vain() -> None:
    profile = tiny(200, prefix_caching=False)
    story = play(profile, [ask(1, prompt=40, salt=1), ask(2, 5.0, prompt=40, salt=1)])
    assert story.ends[2].cached_tokens == 0


def test_history_sent_back_is_cached_with_the_answer_in_it() -> None:
    first = ask(1, prompt=16, reply=9)
    again = Request(2, 5.0, first.prompt + first.reply + (1, 2, 3), (1, 2))
    assert play(tiny(200), [first, again]).ends[2].cached_tokens == 24  # 16 + 8 of the 9: the last is never computed


def test_a_cold_engine_pays_once_for_each_batch_size() -> None:
    profile = tiny(200, warmup_s=3.0)
    story = play(profile, [ask(1), ask(2, 50.0), ask(3, 100.0), ask(4, 100.0)], cold=True)
    waits = [story.ends[n].first - story.ends[n].arrival for n in (1, 2, 3)]
    assert waits[0] > 3.0
    assert waits[1] < 0.5
    assert waits[2] > 3.0  # two at once for the first time


def test_a_request_reaches_the_scheduler_only_through_the_frontend() -> None:
    story = play(tiny(100, frontend_s=0.25), [ask(1, 1.0)])
    assert story.ends[1].queued == 1.25
    assert story.ends[1].scheduled == 1.25
    assert story.steps[0].tally.first_waits[0] > 0.25


def test_speed_divides_every_time() -> None:
    slow, fast = Engine(tiny(100, frontend_s=0.1)), Engine(tiny(100, frontend_s=0.1), speed=4.0)
    for engine in (slow, fast):
        engine.add(ask(1))
        while engine.step() is not None:
            pass
    assert fast.now == pytest.approx(slow.now / 4)


def test_an_abort_frees_everything_at_any_stage() -> None:
    engine = Engine(tiny(100, max_num_seqs=1, frontend_s=0.01))
    for number in (1, 2, 3):
        engine.add(ask(number, arrival=number * 0.001))
    engine.add(ask(4, arrival=9.0))
    engine.step()
    for number in (1, 2, 4, 4, 99):
        engine.abort(number)
    rest = []
    while (step := engine.step()) is not None:
        rest += [done.request_id for done in step.finished]
    assert rest == [3]
    assert engine.pool.usage == 0


def test_an_empty_prompt_or_reply_is_refused() -> None:
    with pytest.raises(ValueError, match="request 7"):
        Request(7, 0.0, (), (1,))
