"""The engine: vLLM's V1 scheduler on virtual time. Pure: no clock, no I/O, the same run for the same input.

One call of :meth:`Engine.step` is one scheduler step, as in vLLM's ``v1/core/sched/scheduler.py``: running requests
first, each one token (or a chunk of its prompt); where no block is left the youngest running request is put back to
the head of the queue with nothing computed; then, unless that happened, waiting requests are admitted first come,
first served. A preempted request is silent, keeps what it said, and computes prompt and answer anew. Its preemption
is reported with its *next* token, hence never if it is aborted meanwhile (measured on vLLM 0.32.0).

Times are seconds since the engine started.
"""

from collections import deque

from probe_ext.sim.engine.kv_blocks import BlockPool
from probe_ext.sim.engine.request_state import Life
from probe_ext.sim.engine.roofline import Roofline, Work
from probe_ext.sim.engine.step_types import Finished, Output, Request, Snapshot, Step, Tally
from probe_ext.sim.profile import Profile

Plan = list[tuple[Life, int]]
"""What a step computes: (request, number of its tokens)."""


class Engine:
    """Waiting and running requests, a block pool, and the time."""

    def __init__(self, profile: Profile, speed: float = 1.0, cold: bool = False) -> None:
        self.profile = profile
        self.now = 0.0
        self.pool = BlockPool(profile.num_gpu_blocks, profile.block_size, profile.prefix_caching)
        self._roofline = Roofline(profile, speed)
        self._warmup = profile.warmup_s / speed if cold else 0.0
        self._warm: set[int] = set()
        self._frontend = profile.frontend_s / speed
        self._arriving: deque[Life] = deque()
        self._waiting: deque[Life] = deque()
        self._running: list[Life] = []
        self._all: dict[int, Life] = {}

    def add(self, request: Request) -> None:
        """Take a request in; arrivals must come in order. It can be scheduled ``frontend_s`` after it arrived."""
        life = Life(request, request.arrival + self._frontend)
        self._all[request.id] = life
        self._arriving.append(life)

    def abort(self, request_id: int) -> None:
        """Forget a request and free its blocks; one that is not there (any more) is no error."""
        life = self._all.pop(request_id, None)
        if life is None:
            return
        self.pool.release(life.blocks)
        for group in (self._arriving, self._waiting, self._running):
            if life in group:
                group.remove(life)

    def next_start(self) -> float | None:
        """When the next step can start; None while there is nothing to do."""
        if self._running or self._waiting:
            return self.now
        return max(self.now, self._arriving[0].queued) if self._arriving else None

    def snapshot(self) -> Snapshot:
        """The gauges as they are now; a preempted request counts as waiting at once."""
        return Snapshot(len(self._running), len(self._waiting), self.pool.usage)

    def step(self) -> Step | None:
        """Schedule and compute one step; None when there is nothing to do."""
        start = self.next_start()
        if start is None:
            return None
        while self._arriving and self._arriving[0].queued <= start:
            self._waiting.append(self._arriving.popleft())
        tally = Tally()
        preempted: list[int] = []
        plan = self._schedule(start, tally, preempted)
        self.now = start + self._duration(plan)
        outputs, finished = self._compute(plan, tally)
        return Step(start, self.now, outputs, finished, tuple(preempted), tally, self.snapshot())

    # --- scheduling -------------------------------------------------------------------------------------------

    def _schedule(self, start: float, tally: Tally, preempted: list[int]) -> Plan:
        budget = self.profile.max_num_batched_tokens
        plan: list[tuple[Life, int]] = []
        running = self._running
        position = 0
        while position < len(running) and budget > 0:
            life = running[position]
            count = min(life.total - life.computed, budget)
            if not self._make_room(life, count, preempted):
                break
            plan.append((life, count))
            budget -= count
            position += 1
        if not preempted:
            self._admit(plan, budget, start, tally)
        return plan

    def _make_room(self, life: Life, count: int, preempted: list[int]) -> bool:
        """Blocks for ``count`` more tokens, taken from the youngest where none is left; False: it was the youngest."""
        end = life.computed + count
        if end <= life.room:
            self._publish(life, end)
            return True
        while not self._grow(life, end):
            victim = self._running.pop()
            self._preempt(victim)
            preempted.append(victim.request.id)
            if victim is life:
                return False
        return True

    def _grow(self, life: Life, end: int) -> bool:
        size = self.pool.block_size
        missing = -(-end // size) - len(life.blocks)
        if missing > self.pool.free:
            return False
        life.blocks += self.pool.take(missing)
        life.room = len(life.blocks) * size
        self._publish(life, end)
        return True

    def _preempt(self, victim: Life) -> None:
        self.pool.release(victim.blocks)
        victim.blocks = []
        victim.room = victim.computed = victim.published = 0
        victim.unreported += 1
        victim.preemptions += 1
        self._waiting.appendleft(victim)

    def _admit(self, plan: Plan, budget: int, start: float, tally: Tally) -> None:
        while self._waiting and budget > 0 and len(self._running) < self.profile.max_num_seqs:
            life = self._waiting[0]
            found = self.pool.find(life.keys((life.total - 1) // self.pool.block_size, self.pool.block_size))
            cached = len(found) * self.pool.block_size
            count = life.total - cached
            if count > budget and not self.profile.chunked_prefill and plan:
                return  # a whole prompt only; one that never fits the budget gets a step of its own
            if self.profile.chunked_prefill:
                count = min(count, budget)
            # Room for all of it, though a chunk is computed first; older releases asked for the chunk's room alone.
            if not self._fits(life.total if self.profile.scheduler_reserve_full_isl else cached + count, found):
                return
            self._enter(life, found, cached + count)
            self._waiting.popleft()
            self._running.append(life)
            life.schedule(start, cached, tally)
            plan.append((life, count))
            budget -= count

    def _fits(self, tokens: int, found: list[int]) -> bool:
        fresh = -(-tokens // self.pool.block_size) - len(found)
        return fresh <= self.pool.free - self.pool.idle(found)

    def _enter(self, life: Life, found: list[int], end: int) -> None:
        self.pool.share(found)
        life.blocks = found
        life.computed = len(found) * self.pool.block_size
        life.published = len(found)
        self._grow(life, end)

    def _publish(self, life: Life, end: int) -> None:
        # At scheduling, as vLLM does: a later request of the same step already shares what this one will compute.
        full = end // self.pool.block_size
        if self.pool.caching and full > life.published:
            keys = life.keys(full, self.pool.block_size)
            for index in range(life.published, full):
                self.pool.publish(life.blocks[index], keys[index])
            life.published = full

    # --- computing --------------------------------------------------------------------------------------------

    def _duration(self, plan: Plan) -> float:
        work = Work(sequences=len(plan))
        for life, count in plan:
            work.tokens += count
            work.cached_tokens_read += life.computed
            if count > 1:
                work.attention_pairs += count * (life.computed + count // 2)
        return self._roofline.seconds(work) + self._warming(len(plan))

    def _warming(self, sequences: int) -> float:
        graph = 1 << max(0, sequences - 1).bit_length()  # captured graphs: 1, 2, 4, 8, ...
        if not self._warmup or graph in self._warm:
            return 0.0
        self._warm.add(graph)
        return self._warmup

    def _compute(self, plan: Plan, tally: Tally) -> tuple[tuple[Output, ...], tuple[Finished, ...]]:
        outputs: list[Output] = []
        finished: list[Finished] = []
        for life, count in plan:
            life.computed += count
            if life.computed < life.total:
                continue
            outputs.append(life.speak(self.now, tally))
            if life.said == len(life.request.reply):
                finished.append(self._finish(life))
        if finished:
            self._running = [life for life in self._running if not life.over]
        return tuple(outputs), tuple(finished)

    def _finish(self, life: Life) -> Finished:
        life.over = True
        self.pool.release(life.blocks)
        del self._all[life.request.id]
        return life.finished()
