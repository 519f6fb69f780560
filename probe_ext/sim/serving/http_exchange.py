"""One HTTP request and its response: what to send for each token, and when each token was due and sent.

Times are seconds of the event loop's monotonic clock.
"""

import asyncio
from dataclasses import dataclass, field

from probe_ext.sim.engine.step_types import Finished, Output
from probe_ext.sim.faults import Fault
from probe_ext.sim.protocol.request_body import ApiRequest
from probe_ext.sim.protocol.response_bytes import ReplyWriter, Usage, as_chunk
from probe_ext.sim.serving.reply_generator import Reply

HOLD_BACK_EVERY_TOKENS = 33


@dataclass(slots=True, eq=False)
class Choice:
    """One of the ``n`` completions of a request; the engine knows it by ``number``."""

    number: int
    reply: Reply
    writer: ReplyWriter
    generated: int = 0
    """Tokens that the engine has generated."""
    flushed: int = 0
    """Of these, tokens whose text is in an event."""
    pending_texts: list[str] = field(default_factory=list)
    due: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    preempted: list[float] = field(default_factory=list)
    finished: Finished | None = None

    def take_pending_text(self) -> str:
        """Return and clear the text that waits for an event."""
        self.flushed = self.generated
        text = "".join(self.pending_texts)
        self.pending_texts.clear()
        return text

    def mark_sent(self, now: float) -> None:
        """Record that every flushed token has been written to the socket."""
        self.sent += [now] * (self.flushed - len(self.sent))


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and its response. ``transport`` is None when the response is not streamed."""

    request: ApiRequest
    id: str
    created: int
    arrival: float
    done: asyncio.Future[str]
    choices: list[Choice]
    stream_interval: int = 1
    hold_back: bool = False
    usage_details: bool = True
    usage_factor: int = 1
    lump_events: int = 1
    early_role: bool = False
    sends_times: bool = False
    """whether the usage has the server's own times"""
    fault: Fault | None = None
    transport: asyncio.WriteTransport | None = None
    chunked: bool = True
    """False for an HTTP/1.0 client, whose response ends with the connection"""
    recording: bytearray | None = None
    """Every byte of the response, kept for a response cache."""
    stalled: bool = False
    fault_applied: bool = False
    _stalled_bytes: bytearray = field(default_factory=bytearray)
    _held_events: list[bytes] = field(default_factory=list)
    _outcome_after_stall: str | None = None

    def encode_token(self, choice: Choice, output: Output, finished: Finished | None) -> bytes:
        """Encode the events for a choice's next token; empty if its text waits for a later event."""
        choice.generated = output.position + 1
        choice.finished = finished
        if not self.request.stream:
            return b""
        choice.pending_texts.append(choice.reply.texts[output.position])
        first = output.position == 0
        if not (first or finished is not None or (choice.generated - 1) % self.stream_interval == 0):
            return b""
        text = "" if self._holds_back(choice) else choice.take_pending_text()
        event = self._token_event(choice, text, output.finish_reason)
        if not event:
            return b""
        if first and not self.early_role:
            event = self.role_event(choice) + event
        return event if finished is None or not self.all_finished else event + self._ending(finished)

    def role_event(self, choice: Choice) -> bytes:
        """Encode the role-only event."""
        usage = Usage(len(self.request.prompt), 0) if self.request.continuous_usage else None
        return choice.writer.role_event(usage)

    @property
    def all_finished(self) -> bool:
        """Whether the engine has generated every choice's last token."""
        return all(choice.finished is not None for choice in self.choices)

    def usage(self) -> Usage:
        """Return the token counts so far, over all choices."""
        first = self.choices[0].finished
        cached = first.cached_tokens if first is not None and self.usage_details else None
        generated = sum(choice.generated for choice in self.choices)
        times = _times(first) if first is not None and self.sends_times else None
        return Usage(len(self.request.prompt), generated * max(1, self.usage_factor), cached, times)

    def send(self, payload: bytes) -> None:
        """Write bytes to the socket, or buffer them while the stream is stalled."""
        if self.stalled:
            self._stalled_bytes += payload
            return
        if self.recording is not None:
            self.recording += payload
        self._held_events.append(as_chunk(payload) if self.chunked else payload)
        if not self.holds_events:
            self._write_held()

    @property
    def holds_events(self) -> bool:
        """Whether events wait for others to leave with."""
        return 0 < len(self._held_events) < self.lump_events

    def _write_held(self) -> None:
        if self._held_events and self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"".join(self._held_events))
        self._held_events.clear()

    def end(self, outcome: str) -> None:
        """Let the handler return; if the stream is stalled, only once it resumes."""
        if self.stalled:
            self._outcome_after_stall = outcome
        elif not self.done.done():
            self._write_held()
            self.done.set_result(outcome)

    def resume(self, now: float) -> None:
        """End a stall and send everything buffered at once."""
        self.stalled = False
        if self._stalled_bytes:
            self.send(bytes(self._stalled_bytes))
            self._stalled_bytes.clear()
        for choice in self.choices:
            choice.mark_sent(now)
        if self._outcome_after_stall is not None:
            self.end(self._outcome_after_stall)

    def _holds_back(self, choice: Choice) -> bool:
        chosen = (choice.number + choice.generated) % HOLD_BACK_EVERY_TOKENS == 0
        return self.hold_back and choice.finished is None and chosen

    def _token_event(self, choice: Choice, text: str, finish_reason: str | None) -> bytes:
        usage = None
        if self.request.continuous_usage:
            usage = Usage(len(self.request.prompt), choice.generated * self.usage_factor)
        last = finish_reason is not None and self.all_finished and not self.request.include_usage
        return choice.writer.token_event(text, finish_reason, usage, last)

    def _ending(self, finished: Finished) -> bytes:
        return self.choices[0].writer.ending(self.usage(), finished.finish_reason, self.request.include_usage)


def _times(finished: Finished) -> dict[str, float]:
    """Return a request's times as vLLM's ``--enable-per-request-metrics`` sends them: in milliseconds."""
    decode, steps = finished.last - finished.first, max(1, finished.reply_tokens - 1)
    return {
        "time_to_first_token_ms": 1000 * (finished.first - finished.arrival),
        "generation_time_ms": 1000 * decode,
        "queue_time_ms": 1000 * (finished.scheduled - finished.queued),
        "mean_itl_ms": 1000 * decode / steps,
        "tokens_per_second": finished.reply_tokens / (finished.last - finished.arrival),
    }
