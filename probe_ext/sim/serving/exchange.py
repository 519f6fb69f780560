"""One HTTP request being answered: what to send with each token, and when it was due and handed over.

Times are seconds of the event loop's monotonic clock.
"""

import asyncio
from dataclasses import dataclass, field

from probe_ext.sim.api.request_body import Ask
from probe_ext.sim.api.response_bytes import DONE, EventWriter, Usage, framed
from probe_ext.sim.engine.step_types import Finished, Output
from probe_ext.sim.faults import Fault
from probe_ext.sim.reply_plan import Reply

HELD_BACK_ONE_IN = 33


@dataclass(slots=True, eq=False)
class Choice:
    """One of the answers asked for (``n``), known to the engine as ``number``."""

    number: int
    reply: Reply
    writer: EventWriter
    said: int = 0
    in_events: int = 0
    """Of the tokens said, those that events were made for."""
    held_back: list[str] = field(default_factory=list)
    due: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    preempted: list[float] = field(default_factory=list)
    finished: Finished | None = None

    def release(self) -> str:
        """The text that waits for an event."""
        self.in_events = self.said
        text = "".join(self.held_back)
        self.held_back.clear()
        return text

    def mark_sent(self, now: float) -> None:
        """All events made so far were handed to the socket by now."""
        self.sent += [now] * (self.in_events - len(self.sent))


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and its answer. ``transport`` is None where the answer is given whole, at the end."""

    ask: Ask
    id: str
    created: int
    arrival: float
    done: asyncio.Future[str]
    choices: list[Choice]
    interval: int = 1
    held_back: bool = False
    details: bool = True
    early_role: bool = False
    fault: Fault | None = None
    transport: asyncio.WriteTransport | None = None
    record: bytearray | None = None
    """Every byte of the stream, for a response cache."""
    stalled: bool = False
    struck: bool = False
    _held: bytearray = field(default_factory=bytearray)
    _after_stall: str | None = None

    def compose(self, choice: Choice, output: Output, finished: Finished | None) -> bytes:
        """The events for one more token of a choice; empty where it is held back for the next event."""
        choice.said = output.position + 1
        choice.finished = finished
        if not self.ask.stream:
            return b""
        choice.held_back.append(choice.reply.texts[output.position])
        first = output.position == 0
        if not (first or finished is not None or (choice.said - 1) % self.interval == 0):
            return b""
        text = "" if self._holds_back(choice) else choice.release()
        event = self._event(choice, text, output.finish)
        if first and not self.early_role:
            event = self.role(choice) + event
        return event if finished is None or not self.complete else event + self._ending()

    def role(self, choice: Choice) -> bytes:
        """The role-only chunk."""
        return choice.writer.role(Usage(len(self.ask.prompt), 0) if self.ask.continuous_usage else None)

    @property
    def complete(self) -> bool:
        """Whether every choice has said its last token."""
        return all(choice.finished is not None for choice in self.choices)

    def usage(self) -> Usage:
        """Token counts so far, over all choices."""
        first = self.choices[0].finished
        cached = first.cached_tokens if first is not None and self.details else None
        return Usage(len(self.ask.prompt), sum(choice.said for choice in self.choices), cached)

    def send(self, payload: bytes) -> None:
        """Hand bytes to the socket, or keep them while the stream is stalled."""
        if self.stalled:
            self._held += payload
            return
        if self.record is not None:
            self.record += payload
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(framed(payload))

    def end(self, outcome: str) -> None:
        """Let the handler go on; a stalled stream only once it resumes."""
        if self.stalled:
            self._after_stall = outcome
        elif not self.done.done():
            self.done.set_result(outcome)

    def resume(self, now: float) -> None:
        """The stall is over: everything held goes out at once."""
        self.stalled = False
        if self._held:
            self.send(bytes(self._held))
            self._held.clear()
        for choice in self.choices:
            choice.mark_sent(now)
        if self._after_stall is not None:
            self.end(self._after_stall)

    def _holds_back(self, choice: Choice) -> bool:
        return self.held_back and choice.finished is None and (choice.number + choice.said) % HELD_BACK_ONE_IN == 0

    def _event(self, choice: Choice, text: str, finish: str | None) -> bytes:
        usage = None
        if self.ask.continuous_usage:
            usage = Usage(len(self.ask.prompt), choice.said)
        last = finish is not None and self.complete and not self.ask.include_usage
        return choice.writer.tokens(text, finish, usage, last)

    def _ending(self) -> bytes:
        if self.ask.include_usage:
            return self.choices[0].writer.usage(self.usage()) + DONE
        return DONE
