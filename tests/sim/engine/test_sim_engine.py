"""The scheduler on virtual time: no token is lost, no request starves, and preemption works as in vLLM."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_helpers import BLOCK, make_request, simulate, tiny

from probe_ext.sim.engine.request_state import RequestState
from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Request
from probe_ext.sim.profile import Profile

requests = st.lists(
    st.tuples(st.integers(1, 60), st.integers(1, 60), st.floats(0, 2), st.integers(0, 3)), min_size=1, max_size=25
)


def load(drawn: list[tuple[int, int, float, int]]) -> list[Request]:
    arrivals = sorted(arrival for _, _, arrival, _ in drawn)
    return [
        make_request(number, arrival, prompt, reply, salt)
        for number, (arrival, (prompt, reply, _, salt)) in enumerate(zip(arrivals, drawn, strict=True), 1)
    ]


@given(requests, st.integers(31, 90), st.booleans(), st.sampled_from([16, 64]))
def test_every_token_is_generated_once_and_every_block_is_freed(
    drawn: list[tuple[int, int, float, int]], blocks: int, caching: bool, budget: int
) -> None:
    requests_to_run = load(drawn)
    run = simulate(tiny(blocks, prefix_caching=caching, max_num_batched_tokens=budget), requests_to_run)
    assert run.tokens == {request.id: list(range(len(request.reply))) for request in requests_to_run}
    assert run.finished.keys() == {request.id for request in requests_to_run}
    assert run.engine.pool.free == blocks
    assert run.engine.pool.usage == 0


@given(requests, st.integers(31, 60))
def test_counters_match_the_run(drawn: list[tuple[int, int, float, int]], blocks: int) -> None:
    requests_to_run = load(drawn)
    run = simulate(tiny(blocks), requests_to_run)
    prompts, replies = sum(len(r.prompt) for r in requests_to_run), sum(len(r.reply) for r in requests_to_run)
    tallies = [step.tally for step in run.steps]
    assert sum(tally.prompt_tokens for tally in tallies) == prompts
    assert sum(tally.prefix_queries for tally in tallies) == prompts  # once per request, however often it was preempted
    assert sum(tally.reply_tokens for tally in tallies) == replies
    assert sum(tally.prefix_hits for tally in tallies) == sum(done.cached_tokens for done in run.finished.values())
    assert sum(sum(tally.previous_tokens.values()) for tally in tallies) == replies - len(requests_to_run)
    assert sum(tally.preemptions for tally in tallies) == len(run.preempted)
    assert Counter(run.preempted) == Counter({n: d.preemptions for n, d in run.finished.items() if d.preemptions})


@given(requests, st.integers(31, 60))
def test_the_same_input_gives_the_same_run(drawn: list[tuple[int, int, float, int]], blocks: int) -> None:
    assert simulate(tiny(blocks), load(drawn)).steps == simulate(tiny(blocks), load(drawn)).steps


@given(requests, st.integers(31, 90), st.sampled_from([3, 16]))
def test_requests_are_admitted_in_order_of_arrival_under_any_load(
    drawn: list[tuple[int, int, float, int]], blocks: int, max_num_seqs: int
) -> None:
    run = simulate(tiny(blocks, max_num_seqs=max_num_seqs), load(drawn))
    admitted = [run.finished[number].scheduled for number in sorted(run.finished)]
    assert admitted == sorted(admitted)
    assert max(step.snapshot.running for step in run.steps) <= max_num_seqs


class RecordingEngine(Engine):
    """An engine that records at each preemption how many blocks are free and whether the youngest is preempted."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self.free_blocks_and_youngest: list[tuple[int, bool]] = []

    def _preempt(self, victim: RequestState) -> None:
        youngest = all(victim.request.id > other.request.id for other in self._running)
        self.free_blocks_and_youngest.append((self.pool.free, youngest))
        super()._preempt(victim)


@given(requests, st.integers(31, 60), st.booleans())
def test_only_the_youngest_is_preempted_and_only_when_no_block_is_free(
    drawn: list[tuple[int, int, float, int]], blocks: int, caching: bool
) -> None:
    # No prompt is chunked here, so each running request needs one block at most.
    engine = RecordingEngine(tiny(blocks, prefix_caching=caching, max_num_batched_tokens=4096))
    for request in load(drawn):
        engine.add(request)
    preempted = 0
    while (step := engine.step()) is not None:
        preempted += len(step.preempted)
    assert engine.free_blocks_and_youngest == [(0, True)] * preempted


@pytest.mark.parametrize("whole", [True, False])
def test_a_prompt_is_admitted_when_all_of_it_or_its_first_chunk_fits_depending_on_the_profile(whole: bool) -> None:
    profile = tiny(40, max_num_batched_tokens=16, prefix_caching=False, scheduler_reserve_full_isl=whole)
    run = simulate(profile, [make_request(1, prompt=80, reply=60), make_request(2, prompt=100, reply=2)])
    assert (run.finished[2].scheduled >= run.finished[1].last) is whole
    assert (run.preempted == []) is whole


def test_nothing_is_preempted_while_a_block_is_free() -> None:
    profile = tiny(30, prefix_caching=False)
    engine = Engine(profile)
    for number in range(1, 5):
        engine.add(make_request(number, prompt=20, reply=30))
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


def test_a_step_that_preempts_admits_no_request() -> None:
    # A chunk of the preempted prompt would fit into the blocks it freed; vLLM admits it in the next step at the
    # earliest.
    profile = tiny(30, prefix_caching=False, max_num_batched_tokens=8, scheduler_reserve_full_isl=False)
    run = simulate(profile, [make_request(n, prompt=20, reply=30) for n in range(1, 5)])
    stayed = [
        (before.snapshot.running - len(step.preempted) - len(step.finished), step.snapshot.running)
        for before, step in itertools.pairwise(run.steps)
        if step.preempted
    ]
    assert stayed
    assert all(expected == running for expected, running in stayed)


def test_a_preempted_request_is_silent_and_is_counted_with_its_next_token() -> None:
    run = simulate(tiny(30, prefix_caching=False), [make_request(n, prompt=20, reply=30) for n in range(1, 5)])
    preempting = next(step for step in run.steps if step.preempted)
    victim = preempting.preempted[0]
    later = [step for step in run.steps if step.start >= preempting.end]
    back = next(step for step in later if any(o.request_id == victim for o in step.outputs))
    between = [step for step in later if step.end < back.end]
    assert len(between) > 3
    assert preempting.tally.preemptions == 0
    assert back.tally.preemptions >= 1
    assert all(step.snapshot.waiting >= 1 for step in between[:-1])


def test_a_preemption_is_not_counted_if_the_request_is_aborted() -> None:
    engine = Engine(tiny(30, prefix_caching=False))
    for number in range(1, 5):
        engine.add(make_request(number, prompt=20, reply=30))
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


def test_kv_usage_excludes_the_null_block() -> None:
    engine = Engine(tiny(64))
    engine.add(make_request(1, prompt=3, reply=1_0))
    step = engine.step()
    assert step is not None
    assert engine.profile.num_gpu_blocks == 65
    assert step.snapshot.kv_usage == 1 / 64


def test_a_long_prompt_is_computed_in_chunks_while_others_decode() -> None:
    profile = tiny(100, max_num_batched_tokens=32)
    run = simulate(profile, [make_request(1, prompt=4, reply=40), make_request(2, 0.02, prompt=150, reply=2)])
    long_prompt = run.finished[2]
    between = [step for step in run.steps if long_prompt.scheduled < step.end < long_prompt.first]
    assert len(between) >= 4
    assert all(any(output.request_id == 1 for output in step.outputs) for step in between)


def test_without_chunked_prefill_a_prompt_waits_for_a_step_with_room_for_all_of_it() -> None:
    profile = tiny(100, max_num_batched_tokens=32, chunked_prefill=False)
    run = simulate(
        profile,
        [make_request(1, prompt=30, reply=3), make_request(2, prompt=30, reply=3), make_request(3, prompt=90, reply=3)],
    )
    firsts = [run.finished[number].first for number in (1, 2, 3)]
    assert firsts == sorted(set(firsts))


def test_requests_beyond_max_num_seqs_wait_for_a_whole_reply() -> None:
    run = simulate(tiny(200, max_num_seqs=2), [make_request(n, prompt=8, reply=20) for n in range(1, 5)])
    assert max(step.snapshot.running for step in run.steps) == 2
    assert run.steps[0].snapshot.waiting == 2
    assert run.finished[3].scheduled >= run.finished[1].last
    assert run.preempted == []


def test_a_shared_prompt_is_computed_once_even_within_one_step() -> None:
    run = simulate(tiny(200), [make_request(n, prompt=41, reply=2, salt=1) for n in range(1, 4)])
    assert [run.finished[n].cached_tokens for n in (1, 2, 3)] == [0, 40, 40]


def test_a_repeated_prompt_is_never_cached_completely() -> None:
    run = simulate(
        tiny(200), [make_request(1, prompt=40, reply=2, salt=1), make_request(2, 5.0, prompt=40, reply=2, salt=1)]
    )
    assert run.finished[2].cached_tokens == 40 - BLOCK


def test_nothing_is_cached_with_prefix_caching_off() -> None:
    profile = tiny(200, prefix_caching=False)
    run = simulate(profile, [make_request(1, prompt=40, salt=1), make_request(2, 5.0, prompt=40, salt=1)])
    assert run.finished[2].cached_tokens == 0


def test_a_conversation_history_is_cached_including_the_reply() -> None:
    first = make_request(1, prompt=16, reply=9)
    again = Request(2, 5.0, first.prompt + first.reply + (1, 2, 3), (1, 2))
    # 16 prompt tokens and 8 of 9 reply tokens: the K and V of the last one are never computed.
    assert simulate(tiny(200), [first, again]).finished[2].cached_tokens == 24


def test_a_cold_engine_warms_up_once_per_batch_size() -> None:
    profile = tiny(200, warmup_s=3.0)
    run = simulate(
        profile, [make_request(1), make_request(2, 50.0), make_request(3, 100.0), make_request(4, 100.0)], cold=True
    )
    waits = [run.finished[n].first - run.finished[n].arrival for n in (1, 2, 3)]
    assert waits[0] > 3.0
    assert waits[1] < 0.5
    assert waits[2] > 3.0  # the first batch of two


def test_a_request_reaches_the_scheduler_after_the_frontend_delay() -> None:
    run = simulate(tiny(100, frontend_s=0.25), [make_request(1, 1.0)])
    assert run.finished[1].queued == 1.25
    assert run.finished[1].scheduled == 1.25
    assert run.steps[0].tally.ttfts[0] > 0.25


def test_speed_divides_all_times() -> None:
    slow, fast = Engine(tiny(100, frontend_s=0.1)), Engine(tiny(100, frontend_s=0.1), speed=4.0)
    for engine in (slow, fast):
        engine.add(make_request(1))
        while engine.step() is not None:
            pass
    assert fast.now == pytest.approx(slow.now / 4)


def test_an_abort_frees_all_blocks_at_any_stage() -> None:
    engine = Engine(tiny(100, max_num_seqs=1, frontend_s=0.01))
    for number in (1, 2, 3):
        engine.add(make_request(number, arrival=number * 0.001))
    engine.add(make_request(4, arrival=9.0))
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
