"""One reply from the wish to send to its end, however it ends: the request's marks, its events and its outcome."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from probe_ext.client.decoder import Choice, Decoder
from probe_ext.client.http_framing import BadResponseError, Piece, Response
from probe_ext.client.kernel_receive import Arrivals
from probe_ext.client.matched_runs import Run
from probe_ext.client.openai_api import BadEventError, ServerError, read_error, read_event
from probe_ext.client.safe_text import safe_text
from probe_ext.client.sse import EventTooLargeError
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.timeline import Marks, Pace, TokenEvents, pace, worst

_BUSY = {429, 503}
_CUT_OFF = {"abort", "error"}
"""finish reasons by which servers say that they broke off"""
_TOO_LATE = {Outcome.CUT, Outcome.STALLED, Outcome.TIMEOUT_TOTAL, Outcome.HUNG_UP}
"""endings that take nothing from an answer whose every choice has finished: only the stream's own end is missing"""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a reply ended, and what was said of it."""

    outcome: Outcome
    message: str | None = None


@dataclass(slots=True)
class Reply:
    """A reply with its timeline: what `self.llm.chat(…)` returns."""

    marks: Marks
    streamed: bool
    outcome: Outcome
    message: str | None = None
    status: int | None = None
    finish_reason: str | None = None
    choices: list[Choice] = field(default_factory=list)
    tokens_in: int | None = None
    tokens_cached: int | None = None
    tokens_out: int | None = None
    tokens_from: str | None = None
    lags: list[float] = field(default_factory=list)
    """seconds by which each read came after the kernel had the bytes"""
    overdue: list[float] = field(default_factory=list)
    """the same without what the reader waits on purpose"""
    reads: int = 0
    reads_unresolved: int = 0
    length: int = 0
    """bytes of the body"""

    @property
    def ok(self) -> bool:
        """Whether the model came to an end of its own, with an answer."""
        return self.outcome is Outcome.COMPLETE

    @property
    def text(self) -> str:
        """What the first choice shows."""
        return "".join(self.choices[0].text) if self.choices else ""

    @property
    def reasoning(self) -> str:
        """What the first choice thought."""
        return "".join(self.choices[0].reasoning) if self.choices else ""

    @property
    def pace(self) -> Pace | None:
        """Of all token events, the worst over the choices; None for a reply without any, or one not streamed."""
        return worst([p for c in self.choices if (p := pace(c.events, self._counted))])

    @property
    def all_visible(self) -> bool:
        """Whether all its events show text outside reasoning."""
        return all(all(choice.events.visible) for choice in self.choices)

    @property
    def visible_pace(self) -> Pace | None:
        """The pace of the events that show text outside reasoning.

        Where the server counted more tokens than its events could be told to hold, the visible ones get their share.
        """
        if self.all_visible:
            return self.pace
        return worst([p for c in self.choices if (p := _pace_of(c.events.only_visible(), self._share(c.events)))])

    @property
    def _counted(self) -> int | None:
        """Tokens of a lone choice as the server counts them."""
        return self.tokens_out if len(self.choices) == 1 and self.tokens_from != "events" else None

    def _share(self, events: TokenEvents) -> float:
        """Tokens a counted token."""
        known = sum(events.tokens)
        return self._counted / known if self._counted and known else 1.0

    @property
    def ttft(self) -> float | None:
        """Time to first token in seconds: first token event − sent."""
        found = self.pace
        return found.first - self.marks.sent if found and self.marks.sent is not None else None

    @property
    def events(self) -> list[TokenEvents]:
        """The token events of each choice."""
        return [choice.events for choice in self.choices]


def _pace_of(events: TokenEvents, share: float) -> Pace | None:
    return pace(events, round(share * sum(events.tokens)))


class ReplyReader:
    """Reads one response, its body streamed or whole, as its head says."""

    def __init__(self, secret: str | None) -> None:
        self.response = Response()
        self.decoder = Decoder()
        self.secret = secret
        self.failure: BadResponseError | None = None
        """why what came is no response; nothing is read any more"""
        self._whole: list[bytes] = []
        self._problem: str | None = None
        self._streams: bool | None = None
        self.length = 0

    @property
    def flows(self) -> bool:
        """Whether what comes next is probably one more event, and need not be looked at when it comes."""
        return bool(self._streams) and self.response.flows

    def take(self, arrivals: Arrivals) -> None:
        """Read on. What cannot be read is remembered, not raised."""
        if self.failure is not None:
            return
        try:
            for start, end, run in self.decoder.stretches(arrivals.data):
                if run is not None and self._between():
                    self._take_run(arrivals.at[start:end], run)
                else:
                    self._take_one_by_one(arrivals.data[start:end], arrivals.at[start:end])
        except BadResponseError as error:
            self.failure = error

    def _between(self) -> bool:
        """Whether all that has come is whole events in whole chunks, and fine."""
        flows = self.response.between_chunks and self._streams and self._problem is None
        return bool(flows) and self.decoder.between_events

    def _take_run(self, times: Sequence[float], run: Run) -> None:
        self.decoder.take_run(times, run)
        self.response.skip(len(times), run.wire_size)
        self.length += run.size

    def _take_one_by_one(self, reads: Sequence[bytes], times: Sequence[float]) -> None:
        """Take reads through all layers."""
        for at, data in zip(times, reads, strict=True):
            try:
                self.response.feed(at, data)
            finally:
                self._take_body(self.response.take())

    def _take_body(self, pieces: Sequence[Piece]) -> None:
        status, headers = self.response.status, self.response.headers
        if status is None or self._problem:
            return
        if self._streams is None:
            self._streams = status < 300 and "json" not in headers.get("content-type", "").lower()
            if headers.get("content-encoding", "identity").lower() != "identity":
                self._problem = f"content-encoding {headers['content-encoding']}, though identity was asked for"
                return
        self.length += sum([len(data) for _, _, data in pieces])
        if not self._streams:
            self._whole.extend(data for _, _, data in pieces)
            return
        self._guarded(lambda: self.decoder.feed(pieces))

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (BadEventError, EventTooLargeError) as error:
            self._problem = str(error)

    def fill(self, reply: Reply, ending: Ending | None) -> None:
        """Complete `reply` with all that was read. `ending` is how it was broken off; None if the response is whole."""
        decoder = self.decoder
        if self._streams:
            decoder.finish()
        elif self._streams is False and reply.status and reply.status < 300:
            reply.streamed = False
            if ending is None and self._problem is None:
                self._guarded(self._read_whole)
        reply.choices = [decoder.choices[index] for index in sorted(decoder.choices)]
        reply.finish_reason = next((safe_text(c.finish, self.secret) for c in reply.choices if c.finish), None)
        reply.tokens_in, reply.tokens_cached = decoder.tokens_in, decoder.tokens_cached
        reply.tokens_out, reply.tokens_from = self._tokens(reply)
        reply.reads_unresolved, reply.length = decoder.reads_unresolved, self.length
        found = self._ending(reply, ending)
        reply.outcome = found.outcome
        reply.message = safe_text(found.message, self.secret) if found.message else None
        if not reply.streamed:
            for choice in reply.choices:
                choice.events = TokenEvents()  # a body that came whole has no token times

    def _read_whole(self) -> None:
        self.decoder.take_event(0.0, read_event(b"".join(self._whole)))  # its time is dropped: it marks no token

    def _tokens(self, reply: Reply) -> tuple[int | None, str | None]:
        decoder = self.decoder
        if decoder.completion is not None:
            return decoder.completion, "usage"
        if not reply.choices or not reply.streamed:
            return None, None
        if decoder.listed_ids:
            return sum(sum(c.events.tokens) + c.held for c in reply.choices), "token_ids"
        return sum(len(c.events.at) for c in reply.choices), "events"

    def _ending(self, reply: Reply, ending: Ending | None) -> Ending:
        if reply.status is not None and reply.status >= 300:
            return self._http_error(reply.status)
        if self.decoder.error:
            return _reported(self.decoder.error)
        if self._problem:
            return Ending(Outcome.BAD_DATA, self._problem)
        finished = bool(reply.choices) and all(c.finish for c in reply.choices)
        if ending is not None and not (finished and ending.outcome in _TOO_LATE):
            return ending
        if reply.status is None or not (reply.choices or self.decoder.done):
            return Ending(Outcome.BAD_DATA, "no event of this API in the answer")
        return _own_ending(reply, ending)

    def _http_error(self, status: int) -> Ending:
        said = b"".join(self._whole)
        try:
            error = read_error(orjson.loads(said))
        except ValueError:
            error = None
        text = error.message if error else said.decode("utf-8", "replace")
        outcome = Outcome.REJECTED if status in _BUSY else Outcome.HTTP_ERROR
        return Ending(outcome, f"HTTP {status}: {text}" if text.strip() else f"HTTP {status}")


def _reported(error: ServerError) -> Ending:
    outcome = Outcome.REJECTED if error.code in _BUSY else Outcome.STREAM_ERROR
    return Ending(outcome, f"{error.code}: {error.message}" if error.code is not None else error.message)


def _own_ending(reply: Reply, ending: Ending | None) -> Ending:
    """The response is whole, or was cut after all choices had finished: how did the model end?"""
    finishes = {c.finish for c in reply.choices}
    if finishes & _CUT_OFF:
        return Ending(Outcome.STREAM_ERROR, f"finish reason {' '.join(sorted(f for f in finishes if f))}")
    if any(c.refused or c.finish == "content_filter" for c in reply.choices):
        return Ending(Outcome.FILTERED)
    if None in finishes or not finishes:
        return Ending(Outcome.TRUNCATED, "the stream ended without a finish reason")
    said = [bool(any(c.text)) for c in reply.choices]
    if not all(said):  # of several choices the worst counts
        thought = any(any(c.reasoning) for c, spoke in zip(reply.choices, said, strict=True) if not spoke)
        return Ending(Outcome.NO_ANSWER if thought else Outcome.EMPTY)
    return Ending(Outcome.COMPLETE, f"after its finish reason: {ending.message}" if ending else None)
