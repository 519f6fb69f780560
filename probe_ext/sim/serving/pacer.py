"""The engine on real time: runs its steps when they are due and hands out their tokens.

One wake-up of the event loop a step: the bytes of all tokens are made while the step "computes", so that at its end
only the sockets are written. Writing a thousand of them takes the kernel 8 ms and more, so it begins early by half the
time that it is going to take: then no token is further from its plan than it must be. The next step starts when the
last one was due to end, not when it was delivered: a late loop is late by its own lag and never drifts. Lateness is
kept and told.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable

from probe_ext.sim.api.exchange import Choice, Exchange
from probe_ext.sim.api.response_bytes import DONE, ENGINE_DIED, error_event
from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Request, Step
from probe_ext.sim.faults import Fault
from probe_ext.sim.ground_truth import Truth
from probe_ext.sim.metrics.vllm_metrics import Metrics

LATE_S = 0.02
"""Later than this is said on standard error, ..."""
LATE_NOTE_EVERY_S = 10.0
"""... at most this often."""
AVERAGED_STEPS = 16

Batch = list[tuple[Exchange, Choice, bytes]]


class Pacer:
    """Feeds exchanges to the engine and its tokens to them. ``engine`` and ``metrics`` may be replaced (a restart)."""

    def __init__(self, engine: Engine, metrics: Metrics, truth: Truth, clock: Callable[[], float]) -> None:
        self.engine = engine
        self.metrics = metrics
        self._truth = truth
        self._clock = clock
        self._origin = clock()
        self._wake = asyncio.Event()
        self._open: dict[int, tuple[Exchange, Choice]] = {}
        self._noted = float("-inf")
        self._write_s = 0.0
        """what handing over one token takes, averaged over steps"""

    def submit(self, exchange: Exchange) -> None:
        """Queue an exchange's choices in the engine."""
        for choice in exchange.choices:
            self._open[choice.number] = (exchange, choice)
            arrival = exchange.arrival - self._origin
            self.engine.add(Request(choice.number, arrival, exchange.ask.prompt, choice.reply.ids, choice.reply.ends))
        self._wake.set()

    def close(self, exchange: Exchange, outcome: str) -> None:
        """The exchange is over, however: frees what it holds and writes its record."""
        unfinished = [choice.number for choice in exchange.choices if self._open.pop(choice.number, None)]
        for number in unfinished:
            self.engine.abort(number)
        if unfinished:
            self.metrics.gauges(self.engine.snapshot())  # no step may follow that would show it
        self._truth.reply(exchange, outcome)

    def replace(self, engine: Engine, metrics: Metrics) -> None:
        """The engine died: open exchanges get the error; a fresh engine and fresh counters take over."""
        for exchange in {id(held): held for held, _ in self._open.values()}.values():
            self.strike(exchange, Fault("error"))
        self._open.clear()
        engine.now = self.engine.now
        self.engine, self.metrics = engine, metrics

    async def run(self) -> None:
        """Step for ever."""
        while True:
            start = self.engine.next_start()
            if start is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._until(start)
            step = self.engine.step()
            if step is not None:
                await self._deliver(step)

    async def _until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, self._origin + moment - self._clock()))

    async def _deliver(self, step: Step) -> None:
        engine = self.engine
        for number in step.preempted:
            if number in self._open:
                self._open[number][1].preempted.append(self._origin + step.start)
        batch = self._compose(step)
        await self._until(step.end - min(self._write_s * len(batch), step.end - step.start) / 2)
        if engine is not self.engine:
            return  # it died meanwhile
        self._hand_out(batch, self._origin + step.end)
        self.metrics.observe(step)
        self.metrics.gauges(self.engine.snapshot())  # without those who left in its midst: no other step may follow

    def _hand_out(self, batch: Batch, due: float) -> None:
        begun = self._clock()
        for exchange, choice, payload in batch:
            self._hand(exchange, choice, payload, due)
        ended = self._clock()
        if batch:
            self._write_s += ((ended - begun) / len(batch) - self._write_s) / AVERAGED_STEPS
        self._note_lateness(ended - due)  # of the batch's last token: the worst

    def _compose(self, step: Step) -> Batch:
        finished = {f.request_id: f for f in step.finished}
        batch: Batch = []
        for output in step.outputs:
            held = self._open.get(output.request_id)
            if held is not None:
                exchange, choice = held
                payload = exchange.compose(choice, output, finished.get(output.request_id))
                batch.append((exchange, choice, payload))
        return batch

    def _hand(self, exchange: Exchange, choice: Choice, payload: bytes, due: float) -> None:
        if exchange.done.done():
            return
        if exchange.fault is not None and not exchange.struck and len(choice.due) >= exchange.fault.after:
            self.strike(exchange, exchange.fault)
            if exchange.done.done():
                return
        choice.due.append(due)
        if payload:
            # Stamped before the write: what a client receives can then never be earlier than this says.
            now = self._clock()
            exchange.send(payload)
            if not exchange.stalled:
                choice.mark_sent(now)
        if choice.finished is not None:
            self._open.pop(choice.number, None)
            if exchange.complete and not any(c.number in self._open for c in exchange.choices):
                exchange.end(choice.finished.finish)

    def strike(self, exchange: Exchange, fault: Fault) -> None:
        """Let a fault happen to an open exchange."""
        exchange.struck = True
        if fault.kind == "stall":
            exchange.stalled = True
            if fault.seconds is not None:
                asyncio.get_running_loop().call_later(fault.seconds, lambda: exchange.resume(self._clock()))
            return
        exchange.stalled = False
        if fault.kind == "cut" and exchange.transport is not None:
            exchange.transport.abort()
        elif exchange.ask.stream and fault.kind == "error":
            exchange.send(error_event(ENGINE_DIED))
        elif exchange.ask.stream:
            exchange.send(DONE)
        exchange.end(fault.kind)

    def _note_lateness(self, late: float) -> None:
        self.metrics.late(late)
        now = self._clock()
        if late > LATE_S and now - self._noted > LATE_NOTE_EVERY_S:
            self._noted = now
            with contextlib.suppress(BrokenPipeError):  # nobody listens any more: it serves on
                print(f"simulator behind its own plan: tokens went out {late:.3f} s late", file=sys.stderr)  # noqa: T201 - said to whoever started it
