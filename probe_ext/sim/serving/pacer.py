"""Run the engine on real time: execute its steps when they are due and send their tokens.

The event loop wakes once a step. All of a step's bytes are encoded while the step "computes", so that only the socket
writes remain at its end. A thousand writes take the kernel 8 ms and more, so writing starts early by half its expected
duration: that centres the step's tokens on their due time. A step starts when the previous one was due to end, not when
its tokens were delivered, so a slow event loop delays tokens but the schedule does not drift. Lateness is measured and
exported.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable

from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Request, Step
from probe_ext.sim.faults import Fault
from probe_ext.sim.metrics.vllm_metrics import Metrics
from probe_ext.sim.protocol.response_bytes import ENGINE_DIED
from probe_ext.sim.serving.http_exchange import Choice, Exchange
from probe_ext.sim.serving.truth_log import TruthLog

LATENESS_WARNING_S = 0.02
LATENESS_WARNING_INTERVAL_S = 10.0
WRITE_TIME_AVERAGE_STEPS = 16

Batch = list[tuple[Exchange, Choice, bytes]]


class Pacer:
    """Submits exchanges to the engine and sends them its tokens. A restart replaces ``engine`` and ``metrics``."""

    def __init__(self, engine: Engine, metrics: Metrics, truth: TruthLog, clock: Callable[[], float]) -> None:
        self.engine = engine
        self.metrics = metrics
        self._truth = truth
        self._clock = clock
        self._origin = clock()
        self._wake = asyncio.Event()
        self._open: dict[int, tuple[Exchange, Choice]] = {}
        self._last_warning = float("-inf")
        self._write_s = 0.0  # moving average of the time to write one token

    def submit(self, exchange: Exchange) -> None:
        """Queue an exchange's choices in the engine."""
        prompt, arrival = exchange.request.prompt, exchange.arrival - self._origin
        for choice in exchange.choices:
            self._open[choice.number] = (exchange, choice)
            reply = choice.reply
            self.engine.add(Request(choice.number, arrival, prompt, reply.token_ids, reply.finish_reason))
        self._wake.set()

    def close(self, exchange: Exchange, outcome: str) -> None:
        """Release what an ended exchange still holds, and log it."""
        unfinished = [choice.number for choice in exchange.choices if self._open.pop(choice.number, None)]
        for number in unfinished:
            self.engine.abort(number)
        if unfinished:
            self.metrics.set_gauges(self.engine.snapshot())  # there may be no further step to update them
        self._truth.log_reply(exchange, outcome)

    def replace(self, engine: Engine, metrics: Metrics) -> None:
        """End open exchanges with an error, and continue with a new engine and new metrics."""
        for exchange in {id(exchange): exchange for exchange, _ in self._open.values()}.values():
            self.apply_fault(exchange, Fault("error"))
        self._open.clear()
        engine.now, engine.gpu = self.engine.now, self.engine.gpu
        self.engine, self.metrics = engine, metrics

    def engine_time(self) -> float:
        """Return the current time on the engine's clock."""
        return self._clock() - self._origin

    async def run(self) -> None:
        """Step forever."""
        while True:
            start = self.engine.next_start()
            if start is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._sleep_until(start)
            step = self.engine.step()
            if step is not None:
                await self._deliver(step)

    async def _sleep_until(self, engine_time: float) -> None:
        await asyncio.sleep(max(0.0, self._origin + engine_time - self._clock()))

    async def _deliver(self, step: Step) -> None:
        engine = self.engine
        for number in step.preempted:
            if number in self._open:
                self._open[number][1].preempted.append(self._origin + step.start)
        batch = self._encode(step)
        await self._sleep_until(step.end - min(self._write_s * len(batch), step.end - step.start) / 2)
        if engine is not self.engine:
            return  # replaced in the meantime
        self._send(batch, self._origin + step.end)
        self.metrics.observe_step(step)
        # The step's own snapshot still counts clients that disconnected during it.
        self.metrics.set_gauges(self.engine.snapshot())

    def _encode(self, step: Step) -> Batch:
        finished = {each.request_id: each for each in step.finished}
        batch: Batch = []
        for output in step.outputs:
            entry = self._open.get(output.request_id)
            if entry is not None:
                exchange, choice = entry
                payload = exchange.encode_token(choice, output, finished.get(output.request_id))
                batch.append((exchange, choice, payload))
        return batch

    def _send(self, batch: Batch, due: float) -> None:
        start = self._clock()
        for exchange, choice, payload in batch:
            self._send_token(exchange, choice, payload, due)
        end = self._clock()
        if batch:
            self._write_s += ((end - start) / len(batch) - self._write_s) / WRITE_TIME_AVERAGE_STEPS
        self._record_lateness(end - due)  # of the batch's last token, which is the latest

    def _send_token(self, exchange: Exchange, choice: Choice, payload: bytes, due: float) -> None:
        if exchange.done.done():
            return
        fault = exchange.fault
        if fault is not None and not exchange.fault_applied and len(choice.due) >= fault.after_tokens:
            self.apply_fault(exchange, fault)
            if exchange.done.done():
                return
        choice.due.append(due)
        if payload:
            # Taken before the write, so that no client can receive a token before its logged send time.
            now = self._clock()
            exchange.send(payload)
            if not (exchange.stalled or exchange.holds_events):
                choice.mark_sent(now)
        if choice.finished is not None:
            self._open.pop(choice.number, None)
            if exchange.all_finished and not any(c.number in self._open for c in exchange.choices):
                exchange.end(choice.finished.finish_reason)

    def apply_fault(self, exchange: Exchange, fault: Fault) -> None:
        """Apply a fault to an open exchange."""
        exchange.fault_applied = True
        if fault.kind == "stall":
            exchange.stalled = True
            if fault.seconds is not None:
                asyncio.get_running_loop().call_later(fault.seconds, lambda: exchange.resume(self._clock()))
            return
        exchange.stalled = False
        if fault.kind == "cut" and exchange.transport is not None:
            exchange.transport.abort()
        elif exchange.request.stream and fault.kind == "error":
            exchange.send(exchange.choices[0].writer.error(ENGINE_DIED))
        elif exchange.request.stream:
            exchange.send(exchange.choices[0].writer.abandoned())
        exchange.end(fault.kind)

    def _record_lateness(self, late: float) -> None:
        self.metrics.observe_lateness(late)
        now = self._clock()
        if late > LATENESS_WARNING_S and now - self._last_warning > LATENESS_WARNING_INTERVAL_S:
            self._last_warning = now
            with contextlib.suppress(BrokenPipeError):  # keep serving after the parent has closed the pipe
                why = "this machine is busy, and clients measure a slower server than the profile describes"
                print(f"simulator behind schedule: tokens sent {late:.3f} s late; {why}", file=sys.stderr)  # noqa: T201 - a warning to whoever started the server
