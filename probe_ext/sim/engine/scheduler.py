"""The engine: vLLM's V1 scheduler on virtual time. Pure: no clock, no I/O, the same run for the same input.

One call of :meth:`Engine.step` is one scheduler step, as in vLLM's ``v1/core/sched/scheduler.py``. Running requests
come first, each with one token or a chunk of its prompt. If no block is free, the youngest running request is
preempted: it moves to the head of the queue and loses all computed tokens. Unless a request was preempted, waiting
requests are then admitted first come, first served. A preempted request keeps its generated tokens, and recomputes
prompt and reply when it is admitted again. Its preemption is counted with its *next* token, so never if it is aborted
first (measured on vLLM 0.32.0).

Times are seconds since the engine started.
"""

from collections import deque

from probe_ext.sim.engine.gpu_model import Gpu
from probe_ext.sim.engine.kv_blocks import BlockPool
from probe_ext.sim.engine.request_state import RequestState
from probe_ext.sim.engine.roofline import Roofline, StepWork
from probe_ext.sim.engine.step_types import Finished, Output, Request, Snapshot, Step, Tally
from probe_ext.sim.profile import Profile

Plan = list[tuple[RequestState, int]]
"""What a step computes: (request, number of tokens)."""


class Engine:
    """Waiting and running requests, the block pool, and the virtual clock ``now``."""

    def __init__(self, profile: Profile, speed: float = 1.0, cold: bool = False, *, gpu: Gpu | None = None) -> None:
        self.profile = profile
        self.now = 0.0
        self.gpu = gpu or Gpu()
        self._on_gpu = 0.0  # of the current step's duration
        self.pool = BlockPool(profile.num_gpu_blocks, profile.block_size, profile.prefix_caching)
        self._roofline = Roofline(profile, speed)
        self._warmup_s = profile.warmup_s / speed if cold else 0.0
        self._warm_batch_sizes: set[int] = set()
        self._frontend_s = profile.frontend_s / speed
        self._in_frontend: deque[RequestState] = deque()
        self._waiting: deque[RequestState] = deque()
        self._running: list[RequestState] = []
        self._states: dict[int, RequestState] = {}

    def add(self, request: Request) -> None:
        """Add a request, in order of arrival. It reaches the scheduler's queue ``frontend_s`` after its arrival."""
        state = RequestState(request, request.arrival + self._frontend_s)
        self._states[request.id] = state
        self._in_frontend.append(state)

    def abort(self, request_id: int) -> None:
        """Drop a request and free its blocks; unknown and finished requests are ignored."""
        state = self._states.pop(request_id, None)
        if state is None:
            return
        self.pool.release(state.blocks)
        for group in (self._in_frontend, self._waiting, self._running):
            if state in group:
                group.remove(state)

    def next_start(self) -> float | None:
        """Return when the next step can start; None while the engine is idle."""
        if self._running or self._waiting:
            return self.now
        return max(self.now, self._in_frontend[0].queued) if self._in_frontend else None

    def snapshot(self) -> Snapshot:
        """Return the current gauges; a preempted request counts as waiting."""
        return Snapshot(len(self._running), len(self._waiting), self.pool.usage)

    def step(self) -> Step | None:
        """Schedule and compute one step; None while the engine is idle."""
        start = self.next_start()
        if start is None:
            return None
        while self._in_frontend and self._in_frontend[0].queued <= start:
            self._waiting.append(self._in_frontend.popleft())
        tally = Tally()
        preempted: list[int] = []
        plan = self._schedule(start, tally, preempted)
        self.now = start + self._duration(plan)
        self.gpu.work(max(start, self.now - self._on_gpu), self.now)
        outputs, finished = self._compute(plan, tally)
        return Step(start, self.now, outputs, finished, tuple(preempted), tally, self.snapshot())

    # --- scheduling -------------------------------------------------------------------------------------------

    def _schedule(self, start: float, tally: Tally, preempted: list[int]) -> Plan:
        budget = self.profile.max_num_batched_tokens
        plan: list[tuple[RequestState, int]] = []
        running = self._running
        position = 0
        while position < len(running) and budget > 0:
            state = running[position]
            count = min(state.total - state.computed, budget)
            if not self._allocate_or_preempt(state, count, preempted):
                break
            plan.append((state, count))
            budget -= count
            position += 1
        if not preempted:
            self._admit(plan, budget, start, tally)
        return plan

    def _allocate_or_preempt(self, state: RequestState, count: int, preempted: list[int]) -> bool:
        """Allocate blocks for ``count`` more tokens, preempting the youngest; False: ``state`` itself was preempted."""
        num_tokens = state.computed + count
        if num_tokens <= state.capacity:
            self._cache_full_blocks(state, num_tokens)
            return True
        while not self._allocate(state, num_tokens):
            victim = self._running.pop()
            self._preempt(victim)
            preempted.append(victim.request.id)
            if victim is state:
                return False
        return True

    def _allocate(self, state: RequestState, num_tokens: int) -> bool:
        size = self.pool.block_size
        missing = -(-num_tokens // size) - len(state.blocks)
        if missing > self.pool.free:
            return False
        state.blocks += self.pool.allocate(missing)
        state.capacity = len(state.blocks) * size
        self._cache_full_blocks(state, num_tokens)
        return True

    def _preempt(self, victim: RequestState) -> None:
        self.pool.release(victim.blocks)
        victim.blocks = []
        victim.capacity = victim.computed = victim.hashed_blocks = 0
        victim.unreported_preemptions += 1
        victim.preemptions += 1
        self._waiting.appendleft(victim)

    def _admit(self, plan: Plan, budget: int, start: float, tally: Tally) -> None:
        while self._waiting and budget > 0 and len(self._running) < self.profile.max_num_seqs:
            state = self._waiting[0]
            size = self.pool.block_size
            # Never the whole prompt: its last token has to be computed.
            prefix = self.pool.find_prefix(state.block_hashes((state.total - 1) // size, size))
            cached = len(prefix) * size
            count = state.total - cached
            if count > budget and not self.profile.chunked_prefill and plan:
                return  # only whole prompts; one that exceeds the budget gets a step of its own
            if self.profile.chunked_prefill:
                count = min(count, budget)
            # All of it must fit, although only a chunk is computed now; older releases required room for the chunk
            # only.
            if not self._fits(state.total if self.profile.scheduler_reserve_full_isl else cached + count, prefix):
                return
            self._allocate_admitted(state, prefix, cached + count)
            self._waiting.popleft()
            self._running.append(state)
            state.mark_scheduled(start, cached, tally)
            plan.append((state, count))
            budget -= count

    def _fits(self, tokens: int, prefix: list[int]) -> bool:
        fresh = -(-tokens // self.pool.block_size) - len(prefix)
        return fresh <= self.pool.free - self.pool.count_unreferenced(prefix)

    def _allocate_admitted(self, state: RequestState, prefix: list[int], num_tokens: int) -> None:
        self.pool.reuse(prefix)
        state.blocks = prefix
        state.computed = len(prefix) * self.pool.block_size
        state.hashed_blocks = len(prefix)
        self._allocate(state, num_tokens)

    def _cache_full_blocks(self, state: RequestState, num_tokens: int) -> None:
        # While scheduling, as in vLLM: a later request of the same step shares what this one is about to compute.
        full = num_tokens // self.pool.block_size
        if self.pool.caching and full > state.hashed_blocks:
            hashes = state.block_hashes(full, self.pool.block_size)
            for index in range(state.hashed_blocks, full):
                self.pool.cache_block(state.blocks[index], hashes[index])
            state.hashed_blocks = full

    # --- computing --------------------------------------------------------------------------------------------

    def _duration(self, plan: Plan) -> float:
        work = StepWork(sequences=len(plan))
        for state, count in plan:
            work.tokens += count
            work.cached_tokens_read += state.computed
            if count > 1:
                work.attention_pairs += count * (state.computed + count // 2)
        slowdown = 1.0 / self.gpu.clock_share
        on_gpu = self._roofline.gpu_seconds(work)
        waiting = self._roofline.seconds(work) - on_gpu
        self._on_gpu = on_gpu * slowdown
        return waiting + self._on_gpu + self._warm_up_time(len(plan))

    def _warm_up_time(self, sequences: int) -> float:
        batch_size = 1 << max(0, sequences - 1).bit_length()  # batch sizes with a captured graph: 1, 2, 4, 8, ...
        if not self._warmup_s or batch_size in self._warm_batch_sizes:
            return 0.0
        self._warm_batch_sizes.add(batch_size)
        return self._warmup_s

    def _compute(self, plan: Plan, tally: Tally) -> tuple[tuple[Output, ...], tuple[Finished, ...]]:
        outputs: list[Output] = []
        finished: list[Finished] = []
        for state, count in plan:
            state.computed += count
            if state.computed < state.total:
                continue
            outputs.append(state.emit_token(self.now, tally))
            if state.generated == len(state.request.reply):
                finished.append(self._finish(state))
        if finished:
            self._running = [state for state in self._running if not state.done]
        return tuple(outputs), tuple(finished)

    def _finish(self, state: RequestState) -> Finished:
        state.done = True
        self.pool.release(state.blocks)
        del self._states[state.request.id]
        return state.summary()
