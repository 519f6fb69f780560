"""One reply: its times, token events and outcome, however it ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from probe_ext.client.decoder import Choice, Decoder
from probe_ext.client.http_framing import BadResponseError, Piece, Response
from probe_ext.client.kernel_receive import Arrivals
from probe_ext.client.matched_runs import MatchedRun
from probe_ext.client.openai_api import BadEventError, ServerError, parse_error, parse_event
from probe_ext.client.sse import EventTooLargeError
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.safe_text import safe_text
from probe_ext.measure.timeline import Marks, Pace, TokenEvents, pace, worst

_BUSY_STATUSES = {429, 503}
_ABORTED_FINISH_REASONS = {"abort", "error"}
_HARMLESS_AFTER_FINISH = {Outcome.CUT, Outcome.STALLED, Outcome.TIMEOUT_TOTAL, Outcome.HUNG_UP}
"""do not matter once every choice has finished: only the end of the stream is missing"""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a reply ended."""

    outcome: Outcome
    message: str | None = None


@dataclass(slots=True)
class Reply:
    """A reply with its timeline, as returned by `self.llm.chat(…)`."""

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
    """seconds between the kernel's receipt and our read, per read"""
    overdue: list[float] = field(default_factory=list)
    """the part of each lag that was not an intended wait"""
    reads: int = 0
    reads_unresolved: int = 0
    length: int = 0
    """body bytes"""

    @property
    def ok(self) -> bool:
        """Whether the model finished with an answer."""
        return self.outcome is Outcome.COMPLETE

    @property
    def text(self) -> str:
        """Visible text of the first choice."""
        return "".join(self.choices[0].text) if self.choices else ""

    @property
    def reasoning(self) -> str:
        """Reasoning of the first choice."""
        return "".join(self.choices[0].reasoning) if self.choices else ""

    @property
    def pace(self) -> Pace | None:
        """Pace of all token events, the worst over the choices; None without token events or streaming."""
        return worst([p for c in self.choices if (p := pace(c.events, self._server_count))])

    @property
    def all_visible(self) -> bool:
        """Whether no token event is reasoning."""
        return all(all(choice.events.visible) for choice in self.choices)

    @property
    def visible_pace(self) -> Pace | None:
        """Pace of the token events outside reasoning.

        Tokens that the server counted but that belong to no event are distributed proportionally.
        """
        if self.all_visible:
            return self.pace
        return worst(
            [p for c in self.choices if (p := _scaled_pace(c.events.only_visible(), self._token_scale(c.events)))]
        )

    @property
    def _server_count(self) -> int | None:
        """Tokens of a single choice as the server counts them."""
        return self.tokens_out if len(self.choices) == 1 and self.tokens_from != "events" else None

    def _token_scale(self, events: TokenEvents) -> float:
        """Server-counted tokens per token known from events."""
        known = sum(events.tokens)
        return self._server_count / known if self._server_count and known else 1.0

    @property
    def ttft(self) -> float | None:
        """Time to first token in seconds: first token event − sent."""
        pace = self.pace
        return pace.first - self.marks.sent if pace and self.marks.sent is not None else None

    @property
    def events(self) -> list[TokenEvents]:
        """Token events of each choice."""
        return [choice.events for choice in self.choices]


def _scaled_pace(events: TokenEvents, scale: float) -> Pace | None:
    return pace(events, round(scale * sum(events.tokens)))


class ReplyReader:
    """Parses one response, whose body may be an event stream or a single JSON document."""

    def __init__(self, secret: str | None) -> None:
        self.response = Response()
        self.decoder = Decoder()
        self.secret = secret
        self.failure: BadResponseError | None = None
        """why parsing stopped"""
        self._body_parts: list[bytes] = []
        self._problem: str | None = None
        self._is_event_stream: bool | None = None
        self.length = 0

    @property
    def expects_events(self) -> bool:
        """Whether more events probably follow, which need not be parsed at once."""
        return bool(self._is_event_stream) and self.response.open_ended

    def feed(self, arrivals: Arrivals) -> None:
        """Parse what arrived. Errors are stored, not raised."""
        if self.failure is not None:
            return
        try:
            for start, end, run in self.decoder.find_runs(arrivals.data):
                if run is not None and self._at_boundary():
                    self._take_run(arrivals.at[start:end], run)
                else:
                    self._feed_layers(arrivals.data[start:end], arrivals.at[start:end])
        except BadResponseError as error:
            self.failure = error

    def _at_boundary(self) -> bool:
        """Whether the stream so far is valid and ends with a complete event in a complete chunk."""
        valid = self.response.between_chunks and self._is_event_stream and self._problem is None
        return bool(valid) and self.decoder.between_events

    def _take_run(self, times: Sequence[float], run: MatchedRun) -> None:
        self.decoder.take_run(times, run)
        self.response.skip(len(times), run.wire_bytes)
        self.length += run.event_bytes

    def _feed_layers(self, reads: Sequence[bytes], times: Sequence[float]) -> None:
        for at, data in zip(times, reads, strict=True):
            try:
                self.response.feed(at, data)
            finally:
                self._take_body(self.response.take_pieces())

    def _take_body(self, pieces: Sequence[Piece]) -> None:
        status, headers = self.response.status, self.response.headers
        if status is None or self._problem:
            return
        if self._is_event_stream is None:
            self._is_event_stream = status < 300 and "json" not in headers.get("content-type", "").lower()
            if headers.get("content-encoding", "identity").lower() != "identity":
                self._problem = f"content-encoding {headers['content-encoding']}, although identity was requested"
                return
        self.length += sum([len(data) for _, _, data in pieces])
        if not self._is_event_stream:
            self._body_parts.extend(data for _, _, data in pieces)
            return
        self._store_problem(lambda: self.decoder.feed(pieces))

    def _store_problem(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (BadEventError, EventTooLargeError) as error:
            self._problem = str(error)

    def fill(self, reply: Reply, ending: Ending | None) -> None:
        """Complete `reply` with everything parsed; `ending`: how it was broken off, None for a complete response."""
        decoder = self.decoder
        if self._is_event_stream:
            decoder.finish()
        elif self._is_event_stream is False and reply.status and reply.status < 300:
            reply.streamed = False
            if ending is None and self._problem is None:
                self._store_problem(self._parse_json_body)
        reply.choices = [decoder.choices[index] for index in sorted(decoder.choices)]
        reply.finish_reason = next((safe_text(c.finish, self.secret) for c in reply.choices if c.finish), None)
        reply.tokens_in, reply.tokens_cached = decoder.tokens_in, decoder.tokens_cached
        reply.tokens_out, reply.tokens_from = self._completion_tokens(reply)
        reply.reads_unresolved, reply.length = decoder.reads_unresolved, self.length
        final = self._ending(reply, ending)
        reply.outcome = final.outcome
        reply.message = safe_text(final.message, self.secret) if final.message else None
        if not reply.streamed:
            for choice in reply.choices:
                choice.events = TokenEvents()  # a JSON body has no token times

    def _parse_json_body(self) -> None:
        self.decoder.take_event(0.0, parse_event(b"".join(self._body_parts)))  # `fill` drops the time

    def _completion_tokens(self, reply: Reply) -> tuple[int | None, str | None]:
        decoder = self.decoder
        if decoder.completion_tokens is not None:
            return decoder.completion_tokens, "usage"
        if not reply.choices or not reply.streamed:
            return None, None
        if decoder.has_token_ids:
            return sum(sum(c.events.tokens) + c.held_tokens for c in reply.choices), "token_ids"
        return sum(len(c.events.at) for c in reply.choices), "events"

    def _ending(self, reply: Reply, ending: Ending | None) -> Ending:
        if reply.status is not None and reply.status >= 300:
            return self._http_error(reply.status)
        if self.decoder.error:
            return _error_ending(self.decoder.error)
        if self._problem:
            return Ending(Outcome.BAD_DATA, self._problem)
        finished = bool(reply.choices) and all(c.finish for c in reply.choices)
        if ending is not None and not (finished and ending.outcome in _HARMLESS_AFTER_FINISH):
            return ending
        if reply.status is None or not (reply.choices or self.decoder.done):
            return Ending(Outcome.BAD_DATA, "the response contains no completion event")
        return _model_ending(reply, ending)

    def _http_error(self, status: int) -> Ending:
        body = b"".join(self._body_parts)
        try:
            error = parse_error(orjson.loads(body))
        except ValueError:
            error = None
        text = error.message if error else body.decode("utf-8", "replace")
        outcome = Outcome.REJECTED if status in _BUSY_STATUSES else Outcome.HTTP_ERROR
        return Ending(outcome, f"HTTP {status}: {text}" if text.strip() else f"HTTP {status}")


def _error_ending(error: ServerError) -> Ending:
    outcome = Outcome.REJECTED if error.code in _BUSY_STATUSES else Outcome.STREAM_ERROR
    return Ending(outcome, f"{error.code}: {error.message}" if error.code is not None else error.message)


def _model_ending(reply: Reply, ending: Ending | None) -> Ending:
    """Return how the model ended a complete response, or one broken off after all choices had finished."""
    finishes = {c.finish for c in reply.choices}
    if finishes & _ABORTED_FINISH_REASONS:
        return Ending(Outcome.STREAM_ERROR, f"finish reason {' '.join(sorted(f for f in finishes if f))}")
    if any(c.refused or c.finish == "content_filter" for c in reply.choices):
        return Ending(Outcome.FILTERED)
    if None in finishes or not finishes:
        return Ending(Outcome.TRUNCATED, "the stream ended without a finish reason")
    silent = [c for c in reply.choices if not any(c.text)]
    if silent:  # the worst choice counts
        return Ending(Outcome.NO_ANSWER if any(any(c.reasoning) for c in silent) else Outcome.EMPTY)
    return Ending(Outcome.COMPLETE, f"after its finish reason: {ending.message}" if ending else None)
