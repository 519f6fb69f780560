"""The simulated server's engine at a cost per event instead of per token: the same steps, to the last bit.

A request that only generates does the same in every step: one token more. So a step looks only at the requests for
which something changes: a prompt, a full block, a new block, an end. What a client saw of a reply is read from the
common list of steps when the reply ends. `tests/study/test_fast_engine.py` compares runs with those around `Engine`.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from probe_ext.measure.table_rows import MIN_RECORDED_GAP_S, GapRow
from probe_ext.sim.engine.kv_blocks import NULL_BLOCKS
from probe_ext.sim.engine.roofline import Roofline, StepWork
from probe_ext.sim.engine.step_types import Finished, Snapshot, Step, Tally
from probe_ext.sim.profile import Profile
from scripts.study.virtual.reply_notes import Notes

NO_STEP = -1


@dataclass(slots=True, eq=False)
class _State:
    """Progress of one request. While it generates, `computed` and `generated` are those at the end of step `since`."""

    number: int
    arrival: float
    queued: float
    prompt: int
    """tokens"""
    reply: int
    computed: int = 0
    """tokens in the cache"""
    generated: int = 0
    since: int = NO_STEP
    """the step that ended its prompt; it has had a token in every step from there"""
    admission: int = 0
    blocks: list[int] = field(default_factory=list)
    cached_blocks: int = 0
    preemptions: int = 0
    unreported_preemptions: int = 0
    cached_tokens: int = 0
    scheduled: float | None = None
    stretches: list[tuple[int, int]] = field(default_factory=list)
    """first and last steps in which it had tokens, before its latest preemption or its end"""

    @property
    def total(self) -> int:
        return self.prompt + self.generated


class _Blocks:
    """As `BlockPool`, with blocks named by their content: no prompt is like another, except for what all share.

    Block `i` of what all share is `i`; block `i` of a request is OWN times its number plus `i`, once it is full; a
    negative number has no content that could be found.
    """

    OWN = 1 << 20

    def __init__(self, profile: Profile, shared: int) -> None:
        self.caching = profile.prefix_caching
        self.usable = profile.num_gpu_blocks - NULL_BLOCKS
        self._shared = shared
        """full blocks that all prompts begin with"""
        self._unused = self.usable
        self._queue: OrderedDict[int, None] = OrderedDict()
        self._references: dict[int, int] = {}
        """of shared blocks"""
        self._names = itertools.count(1)

    @property
    def free(self) -> int:
        return self._unused + len(self._queue)

    @property
    def usage(self) -> float:
        return (self.usable - self.free) / self.usable

    def find_prefix(self, state: _State, blocks: int) -> list[int]:
        """The longest prefix of so many blocks that is in the cache."""
        found: list[int] = []
        if not self.caching:
            return found
        own = self.OWN * state.number
        keys = itertools.chain(range(min(blocks, self._shared)), range(own + self._shared, own + blocks))
        for key in keys:
            if key not in self._references and key not in self._queue:
                break
            found.append(key)
        return found

    def count_unreferenced(self, blocks: list[int]) -> int:
        return sum(key in self._queue for key in blocks)

    def reuse(self, blocks: list[int]) -> None:
        for key in blocks:
            self._queue.pop(key, None)
            if key < self.OWN:
                self._references[key] = self._references.get(key, 0) + 1

    def allocate(self, blocks: int) -> list[int]:
        unused = min(blocks, self._unused)
        self._unused -= unused
        for _ in range(blocks - unused):
            self._queue.popitem(last=False)
        return [-next(self._names) for _ in range(blocks)]

    def release(self, blocks: list[int]) -> None:
        references, queue = self._references, self._queue
        for key in reversed(blocks):
            if 0 <= key < self.OWN:
                references[key] -= 1
                if references[key]:
                    continue
                del references[key]
            queue[key] = None

    def cache(self, state: _State, full: int) -> None:
        """Make the blocks that have become full findable; of two with the same content, only the first is."""
        if not self.caching or full <= state.cached_blocks:
            return
        own = self.OWN * state.number
        for index in range(state.cached_blocks, full):
            key = index if index < self._shared else own + index
            if key not in self._references and key not in self._queue:
                state.blocks[index] = key
                if index < self._shared:
                    self._references[key] = 1
        state.cached_blocks = full


class FastEngine:
    """As `Engine`, except that `Step.outputs` stays empty: ask for `note_tokens` when a reply ends."""

    def __init__(self, profile: Profile, shared: int = 0) -> None:
        """`shared`: tokens that all prompts begin with; they have nothing else in common."""
        if profile.max_num_seqs > profile.max_num_batched_tokens or profile.block_size < 2:
            raise ValueError(f"{profile.name}: needs max_num_batched_tokens >= max_num_seqs and block_size >= 2")
        self.now = 0.0
        self.pool = _Blocks(profile, shared // profile.block_size)
        self._profile, self._size = profile, profile.block_size
        self._roofline = Roofline(profile)
        self._seconds_per_cached = profile.kv_bytes_per_token / profile.memory_bandwidth
        self._in_frontend: deque[_State] = deque()
        self._waiting: deque[_State] = deque()
        self._running: dict[_State, None] = {}
        self._states: dict[int, _State] = {}
        self._finished: dict[int, _State] = {}
        """in the latest step"""
        self._admissions = 0
        self._steps = _Steps()
        self._prompting: _State | None = None
        """the last of `_running`, if its prompt is computed only in part"""
        self._generating = 0
        self._context = 0
        """tokens in the cache, of all that generate"""
        self._by_phase: list[dict[_State, None]] = [{} for _ in range(self._size)]
        """those that generate, by tokens computed minus steps, modulo the size of a block"""
        self._ending: dict[int, list[_State]] = {}
        """those that generate, by the step of their last token"""

    def add(self, number: int, arrival: float, prompt: int, reply: int) -> None:
        """Add a request of so many tokens."""
        state = _State(number, arrival, arrival + self._profile.frontend_s, prompt, reply)
        self._states[number] = state
        self._in_frontend.append(state)

    def abort(self, request_id: int) -> None:
        state = self._states.pop(request_id, None)
        if state is None:
            return
        self._stop_generating(state, self._steps.latest)
        if self._prompting is state:
            self._prompting = None
        self.pool.release(state.blocks)
        self._running.pop(state, None)
        for group in (self._in_frontend, self._waiting):
            if state in group:
                group.remove(state)

    def next_start(self) -> float | None:
        if self._running or self._waiting:
            return self.now
        return max(self.now, self._in_frontend[0].queued) if self._in_frontend else None

    def snapshot(self) -> Snapshot:
        return Snapshot(len(self._running), len(self._waiting), self.pool.usage)

    def note_tokens(self, notes: Notes) -> None:
        """Note what the client saw of a reply that ended in the latest step, or that is about to be aborted."""
        state = self._states.get(notes.number) or self._finished[notes.number]
        latest = [] if state.since == NO_STEP else [(state.since, self._steps.latest)]
        self._steps.note([*state.stretches, *latest], notes)

    def step(self) -> Step | None:
        start = self.next_start()
        if start is None:
            return None
        while self._in_frontend and self._in_frontend[0].queued <= start:
            self._waiting.append(self._in_frontend.popleft())
        tally, preempted = Tally(), list[int]()
        self._grow(self._steps.latest + 1, preempted)
        chunks = self._schedule_prompts(start, tally, preempted)
        before = self._steps.end
        self.now = start + self._duration(chunks)
        self._steps.add(self.now)
        if self._generating:
            tally.previous_tokens[before] = tally.reply_tokens = self._generating
            self._context += self._generating
        self._finished.clear()
        finished = [self._finish(state) for state in self._end_replies()]
        for state, count in chunks:
            state.computed += count
            if state.computed < state.total:
                self._prompting = state
            elif self._emit_first(state, tally):
                finished.append(self._finish(state))
        return Step(start, self.now, (), tuple(finished), tuple(preempted), tally, self.snapshot())

    def step_quietly(self, until: float, on_step: Callable[[float, float, int], None]) -> None:
        """Take the steps that start before `until`, up to one in which a request comes, is admitted, preempted or ends.

        `on_step`: the end of the step before, that of this one, and its tokens.
        """
        tokens, steps = self._generating, self._steps
        if not tokens or self._prompting is not None or self._would_admit():
            return
        if self._in_frontend:
            until = min(until, self._in_frontend[0].queued)
        without_cache = self._roofline.seconds(StepWork(tokens, tokens, 0))
        step = steps.latest + 1
        while self.now < until and step not in self._ending:
            beginning = len(self._by_phase[(1 - step) % self._size])
            if beginning > self.pool.free:
                return
            if beginning or self._by_phase[-step % self._size]:
                self._grow(step, [])
            before = steps.end
            self.now += without_cache + self._context * self._seconds_per_cached
            steps.add(self.now)
            self._context += tokens
            on_step(before, self.now, tokens)
            step += 1

    def _would_admit(self) -> bool:
        """Whether the next step might admit a request; if not, none will before a request ends."""
        budget = self._profile.max_num_batched_tokens - self._generating
        if not self._waiting or budget <= 0 or len(self._running) >= self._profile.max_num_seqs:
            return False
        state = self._waiting[0]
        prefix = self.pool.find_prefix(state, (state.total - 1) // self._size)
        tokens = state.total - len(prefix) * self._size
        tokens = min(tokens, budget) if self._profile.chunked_prefill else tokens
        whole = self._profile.scheduler_reserve_full_isl
        return self._fits(state.total if whole else len(prefix) * self._size + tokens, prefix)

    # --- scheduling -------------------------------------------------------------------------------------------

    def _grow(self, step: int, preempted: list[int]) -> None:
        """Cache the blocks that become full, and allocate those that begin, in the order of admission."""
        changing = [*self._by_phase[-step % self._size], *self._by_phase[(1 - step) % self._size]]
        changing.sort(key=lambda state: state.admission)
        for state in changing:
            if state.since == NO_STEP:  # preempted just now
                continue
            tokens = state.computed + step - state.since
            if tokens % self._size == 0:
                self.pool.cache(state, tokens // self._size)
            elif not self._allocate_or_preempt(state, tokens, preempted):
                return

    def _schedule_prompts(self, start: float, tally: Tally, preempted: list[int]) -> list[tuple[_State, int]]:
        chunks: list[tuple[_State, int]] = []
        budget = self._profile.max_num_batched_tokens - self._generating
        state, self._prompting = self._prompting, None
        if state is not None and budget <= 0:
            self._prompting = state
        elif state is not None:
            tokens = min(state.total - state.computed, budget)
            if self._allocate_or_preempt(state, state.computed + tokens, preempted):
                chunks.append((state, tokens))
                budget -= tokens
        if not preempted:
            self._admit(chunks, budget, start, tally)
        return chunks

    def _allocate_or_preempt(self, state: _State, num_tokens: int, preempted: list[int]) -> bool:
        while not self._allocate(state, num_tokens):
            victim, _ = self._running.popitem()
            self._preempt(victim)
            preempted.append(victim.number)
            if victim is state:
                return False
        return True

    def _allocate(self, state: _State, num_tokens: int) -> bool:
        missing = -(-num_tokens // self._size) - len(state.blocks)
        if missing > self.pool.free:
            return False
        if missing > 0:
            state.blocks += self.pool.allocate(missing)
        self.pool.cache(state, num_tokens // self._size)
        return True

    def _preempt(self, victim: _State) -> None:
        self._stop_generating(victim, self._steps.latest)
        if self._prompting is victim:
            self._prompting = None
        self.pool.release(victim.blocks)
        victim.blocks = []
        victim.computed = victim.cached_blocks = 0
        victim.unreported_preemptions += 1
        victim.preemptions += 1
        self._waiting.appendleft(victim)

    def _admit(self, chunks: list[tuple[_State, int]], budget: int, start: float, tally: Tally) -> None:
        profile, size = self._profile, self._size
        while self._waiting and budget > 0 and len(self._running) < profile.max_num_seqs:
            state = self._waiting[0]
            prefix = self.pool.find_prefix(state, (state.total - 1) // size)
            cached = len(prefix) * size
            count = state.total - cached
            if count > budget and not profile.chunked_prefill and (chunks or self._generating):
                return
            if profile.chunked_prefill:
                count = min(count, budget)
            if not self._fits(state.total if profile.scheduler_reserve_full_isl else cached + count, prefix):
                return
            self._waiting.popleft()
            self._begin(state, prefix, count)
            if state.scheduled is None:
                state.scheduled, state.cached_tokens = start, cached
                tally.prefix_queries += state.total
                tally.prefix_hits += cached
            chunks.append((state, count))
            budget -= count

    def _fits(self, tokens: int, prefix: list[int]) -> bool:
        fresh = -(-tokens // self._size) - len(prefix)
        return fresh <= self.pool.free - self.pool.count_unreferenced(prefix)

    def _begin(self, state: _State, prefix: list[int], count: int) -> None:
        self.pool.reuse(prefix)
        state.blocks, state.cached_blocks = prefix, len(prefix)
        state.computed = len(prefix) * self._size
        self._allocate(state, state.computed + count)
        self._admissions += 1
        state.admission = self._admissions
        self._running[state] = None

    # --- computing --------------------------------------------------------------------------------------------

    def _duration(self, chunks: list[tuple[_State, int]]) -> float:
        work = StepWork(self._generating, self._generating + len(chunks), self._context)
        for state, count in chunks:
            work.tokens += count
            work.cached_tokens_read += state.computed
            if count > 1:
                work.attention_pairs += count * (state.computed + count // 2)
        return self._roofline.seconds(work)

    def _emit_first(self, state: _State, tally: Tally) -> bool:
        """The token that the end of a prompt brings; True if it is the only one."""
        if state.generated:
            before = self._steps.ends[state.stretches[-1][1]]
            tally.previous_tokens[before] = tally.previous_tokens.get(before, 0) + 1
        else:
            tally.prompt_tokens += state.prompt
            tally.cached_tokens += state.cached_tokens
            tally.ttfts.append(self.now - state.arrival)
        tally.reply_tokens += 1
        tally.preemptions += state.unreported_preemptions
        state.unreported_preemptions = 0
        state.generated += 1
        step, missing = self._steps.latest, state.reply - state.generated
        if not missing:
            state.stretches.append((step, step))
            return True
        state.since = step
        self._generating += 1
        self._context += state.computed
        self._by_phase[(state.computed - step) % self._size][state] = None
        self._ending.setdefault(step + missing, []).append(state)
        return False

    def _stop_generating(self, state: _State, step: int) -> None:
        """Write down where it stands after a step, if it generates."""
        if state.since == NO_STEP:
            return
        del self._by_phase[(state.computed - state.since) % self._size][state]
        end = state.since + state.reply - state.generated
        if end > step:
            self._ending[end].remove(state)
        state.computed += step - state.since
        state.generated += step - state.since
        self._generating -= 1
        self._context -= state.computed
        state.stretches.append((state.since, step))
        state.since = NO_STEP

    def _end_replies(self) -> list[_State]:
        ending = sorted(self._ending.pop(self._steps.latest, ()), key=lambda state: state.admission)
        for state in ending:
            self._stop_generating(state, self._steps.latest)
        return ending

    def _finish(self, state: _State) -> Finished:
        self._running.pop(state)
        self.pool.release(state.blocks)
        self._finished[state.number] = self._states.pop(state.number)
        return Finished(
            request_id=state.number, finish_reason="stop", prompt_tokens=state.prompt,
            cached_tokens=state.cached_tokens, reply_tokens=state.generated, preemptions=state.preemptions,
            arrival=state.arrival, queued=state.queued,
            scheduled=state.queued if state.scheduled is None else state.scheduled,
            first=self._steps.ends[state.stretches[0][0]], last=self.now,
        )  # fmt: skip


class _Steps:
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self._pauses: list[float] = []
        """seconds from the end of the step before"""
        self._recorded: list[int] = []
        """steps after a pause that `gaps.csv` would record"""

    @property
    def latest(self) -> int:
        return len(self.ends) - 1

    @property
    def end(self) -> float:
        return self.ends[-1] if self.ends else 0.0

    def add(self, end: float) -> None:
        pause = end - self.end
        if pause >= MIN_RECORDED_GAP_S:
            self._recorded.append(len(self.ends))
        self.ends.append(end)
        self._pauses.append(pause)

    def note(self, stretches: Sequence[tuple[int, int]], notes: Notes) -> None:
        """Note a token at the end of every step of these stretches."""
        for first, last in stretches:
            notes.token(self.ends[first])
            if last > first:
                self._note_steady(first, last, notes)

    def _note_steady(self, first: int, last: int, notes: Notes) -> None:
        pauses = self._pauses[first + 1 : last + 1]
        longest = max(pauses)
        if notes.longest is None or longest > notes.longest:
            notes.longest, notes.longest_from = longest, self.ends[first + pauses.index(longest)]
        for step in self._recorded[bisect_left(self._recorded, first + 1) : bisect_right(self._recorded, last)]:
            tokens = notes.tokens + step - first - 1
            notes.gaps.append(GapRow(notes.reply_id, self.ends[step - 1], self.ends[step], tokens))
        notes.tokens += last - first
        notes.last = self.ends[last]
