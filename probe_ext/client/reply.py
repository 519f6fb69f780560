"""One reply: its times, token events and outcome, however it ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat

import orjson

from probe_ext.client.api.api_event import ServerError, ServerTimes
from probe_ext.client.api.finish_reasons import FinishKind, finish_kind
from probe_ext.client.api.json_text import decoded
from probe_ext.client.api.server_errors import BUSY_STATUSES, page_title, shown_location
from probe_ext.client.body_form import BodyForm, body_form, error_in_body, parse_document
from probe_ext.client.decoder import Choice, Decoder
from probe_ext.client.event_pattern import EventPattern
from probe_ext.client.matched_runs import MatchedRun
from probe_ext.client.native_patterns import known_events, with_counts
from probe_ext.client.token_totals import apportion, text_bytes, total_tokens
from probe_ext.client.wire.http_framing import BadResponseError, Piece, Response
from probe_ext.client.wire.kernel_receive import Arrivals
from probe_ext.client.wire.native.native_arrivals import EventRun, NativeArrivals, ReadCounts
from probe_ext.client.wire.proxy_names import named_software
from probe_ext.client.wire.sse import EventTooLargeError
from probe_ext.measure.outcome import FINISHED, Outcome
from probe_ext.measure.safe_text import Secrets, safe_text
from probe_ext.measure.table_rows import DOCUMENT, ONE_EVENT, STREAM, UNSTREAMED
from probe_ext.measure.timeline import Marks, Pace, TokenEvents, pace, worst

MAX_DOCUMENT_BYTES = 16 * 2**20
"""of a body that is not an event stream, and so is parsed in one go"""
_NO_ENCODINGS = {"", "identity", "none", "utf-8", "utf8"}
_MIN_TOKENS_OF_A_STREAM = 8
_MIN_LENGTH_OF_SEVERAL_TOKENS = 64
"""characters"""
_HARMLESS_AFTER_FINISH = {Outcome.CUT, Outcome.STALLED, Outcome.TIMEOUT_TOTAL, Outcome.HUNG_UP}
"""do not matter once every choice has finished: only the end of the stream is missing"""

_SAID_BY_SERVER = {Outcome.HTTP_ERROR, Outcome.REJECTED, Outcome.STREAM_ERROR}
_MAX_ERROR_TEXT_LENGTH = 8000
_BROKEN_OFF = _HARMLESS_AFTER_FINISH | {Outcome.TRUNCATED, Outcome.BAD_DATA, Outcome.TIMEOUT_FIRST}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a reply ended."""

    outcome: Outcome
    message: str | None = None


@dataclass(slots=True)
class Reply:
    """A reply with its timeline, as returned by `self.llm.chat(…)`."""

    marks: Marks
    """when it was due, sent and over, in monotonic seconds"""
    streamed: bool
    """whether it came as a stream; False also where one document or event came although a stream was requested"""
    outcome: Outcome
    """how it ended"""
    message: str | None = None
    """the error of server or system, or what is unusual about a complete reply"""
    error_text: str | None = None
    """all that the server said about an error, as far as `poorer_form` may need it"""
    status: int | None = None
    """of HTTP"""
    finish_reason: str | None = None
    """as the server gives it"""
    choices: list[Choice] = field(default_factory=list)
    """text and token events of each choice"""
    tokens_in: int | None = None
    """prompt tokens, counted by the server"""
    tokens_cached: int | None = None
    """prompt tokens from the server's prefix cache"""
    tokens_out: int | None = None
    """completion tokens"""
    tokens_from: str | None = None
    """source of `tokens_out`: `usage`, `token_ids` or `events`"""
    tokens_reasoning: int | None = None
    """of `tokens_out`, as the server counts them"""
    server_times: ServerTimes | None = None
    """what the server itself measured of this reply, if it says"""
    tokens_unseen: int = 0
    """of `tokens_out`, reasoning that no event carried"""
    lags: list[float] = field(default_factory=list)
    """seconds between the kernel's receipt and our read, per read"""
    overdue: list[float] = field(default_factory=list)
    """the part of each lag that was not an intended wait"""
    reads: int = 0
    """reads from the connection"""
    reads_unresolved: int = 0
    """reads with several token events, whose gaps are therefore unknown"""
    length: int = 0
    """body bytes"""
    delivery: str | None = None
    """one of `DELIVERIES`; None without an answer"""
    segments: int | None = None
    """TCP segments with data that the kernel received for it"""
    text_bytes: int | None = None
    """UTF-8 bytes of its text and reasoning; None without any"""
    tokens_claimed: int | None = None
    """completion tokens by the server, where they contradict the text and are not used"""
    via: str | None = None
    """software that the head names"""

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
        """Tokens of a single choice as the server counts them, without those that no event carried."""
        if self.tokens_out is None or len(self.choices) != 1 or self.tokens_from == "events":
            return None
        return self.tokens_out - self.tokens_unseen

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
    """Parses one response, whose body may be an event stream, a single JSON document, a page or plain text."""

    def __init__(self, secret: Secrets, choices: int = 1) -> None:
        """`choices`: how many were asked for."""
        self.response = Response()
        self.decoder = Decoder(choices)
        self.secret = secret
        self.failure: BadResponseError | None = None
        """why parsing stopped"""
        self.length = 0
        self._form: BodyForm | None = None
        """None until the first bytes of the body show it"""
        self._body: list[Piece] = []
        """the body so far, unless it is an event stream"""
        self._problem: str | None = None

    @property
    def expects_events(self) -> bool:
        """Whether more events probably follow, which need not be parsed at once."""
        return self._may_be_stream() and self.response.open_ended

    def _may_be_stream(self) -> bool:
        if self._form is not None:
            return self._form is BodyForm.EVENTS
        status = self.response.status
        declared = "event-stream" in self.response.headers.get("content-type", "").lower()
        return status is not None and status < 300 and declared and not self._body

    def feed(self, arrived: Arrivals | NativeArrivals) -> None:
        """Parse what arrived. Errors are stored, not raised."""
        if self.failure is not None:
            return
        try:
            for part in arrived.parts if isinstance(arrived, NativeArrivals) else [arrived]:
                if isinstance(part, EventRun):
                    self._take_events(part)
                else:
                    self._feed_reads(part)
        except BadResponseError as error:
            self.failure = error

    def _feed_reads(self, arrivals: Arrivals) -> None:
        data, at, first = arrivals.data, arrivals.at, self.response.reads + 1
        numbers = arrivals.numbers or range(first, first + len(data))
        if numbers and numbers[0] < first:  # the rest of a read: it has no run of reads of its own
            self._feed_layers(data[:1], at[:1], numbers[:1])
            data, at, numbers = data[1:], at[1:], numbers[1:]
        for start, end, run in self.decoder.find_runs(data):
            if run is not None and self.response.between_chunks and self._at_boundary():
                alone = (bool(run.texts[0]), bool(run.texts[-1]))
                last = numbers[end - 1]
                self._take_run(at[start:end], run, ReadCounts(numbers[start], last, last, *alone, 0))
            else:
                self._feed_layers(data[start:end], at[start:end], numbers[start:end])

    def _take_events(self, events: EventRun) -> None:
        """Take events that the native path matched, which it does between events of a valid stream only."""
        if not self._at_boundary():
            raise BadResponseError("internal error (please report): events were matched inside another one")
        meaning, counts, prompt = known_events(events.pattern), events.counts, events.prompt_tokens
        if isinstance(meaning, EventPattern):
            texts: list[str] = orjson.loads(events.texts)
            run = MatchedRun(meaning, texts, counts, prompt, events.event_bytes, events.wire_bytes)
            self._take_run(events.at, run, events.reads)
            return
        self._form = BodyForm.EVENTS
        completions = counts or repeat(None, len(events.at))
        parsed = [with_counts(meaning, prompt, completion) for completion in completions]
        self.decoder.take_constants(events.at, parsed, events.reads)
        self.response.skip(events.reads.end, events.wire_bytes)
        self.length += events.event_bytes

    def _at_boundary(self) -> bool:
        """Whether the stream so far is valid and ends with a complete event in a complete chunk."""
        valid = self.response.skippable and self._problem is None and self._may_be_stream()
        return valid and self.decoder.between_events

    def _take_run(self, times: Sequence[float], run: MatchedRun, reads: ReadCounts) -> None:
        self._form = BodyForm.EVENTS
        self.decoder.take_run(times, run, reads)
        self.response.skip(reads.end, run.wire_bytes)
        self.length += run.event_bytes

    def _feed_layers(self, reads: Sequence[bytes], times: Sequence[float], numbers: Sequence[int]) -> None:
        for at, data, number in zip(times, reads, numbers, strict=True):
            try:
                self.response.feed(at, data, number)
            finally:
                self._take_body(self.response.take_pieces())

    def _take_body(self, pieces: Sequence[Piece]) -> None:
        status = self.response.status
        if status is None or self._problem or not pieces:
            return
        self.length += sum([len(data) for _, _, data in pieces])
        if self._form is not BodyForm.EVENTS:
            self._body.extend(pieces)
            if self.length > MAX_DOCUMENT_BYTES:
                raise BadResponseError(f"a response without events exceeds {MAX_DOCUMENT_BYTES} bytes")
            if self._form is not None or status >= 300:
                return
            self._form = body_form(self._body_bytes())
            if self._form is not BodyForm.EVENTS:
                return
            pieces, self._body = self._body, []
        try:
            self.decoder.feed(pieces)
        except EventTooLargeError as error:
            self._problem = str(error)

    def _body_bytes(self) -> bytes:
        return b"".join([data for _, _, data in self._body])

    def fill(self, reply: Reply, ending: Ending | None) -> None:
        """Complete `reply` with everything parsed; `ending`: how it was broken off, None for a complete response."""
        decoder, asked = self.decoder, reply.streamed
        if self._form is BodyForm.EVENTS:
            self._finish_events()
        elif self._body and reply.status and reply.status < 300:
            reply.streamed = False
            if self._form is BodyForm.DOCUMENT:
                self._take_document(complete=ending is None)
            else:
                self._problem = self._unreadable_body()
        reply.choices = [decoder.choices[index] for index in sorted(decoder.choices)]
        for choice in reply.choices:
            if reply.streamed:
                choice.remove_repeats()
            choice.separate_inline_reasoning()
        reply.finish_reason = next((safe_text(c.finish, self.secret) for c in reply.choices if c.finish), None)
        reply.tokens_in, reply.tokens_cached = (
            decoder.tokens_in or None,
            decoder.tokens_cached,
        )  # no prompt has 0 tokens
        reply.tokens_reasoning, reply.server_times = decoder.tokens_reasoning, decoder.server_times
        total = total_tokens(decoder, reply.choices, streamed=reply.streamed)
        reply.tokens_out, reply.tokens_from, reply.tokens_unseen, doubt, reply.tokens_claimed = total
        reply.text_bytes = text_bytes(reply.choices) or None
        named = named_software(self.response.headers)
        reply.via = safe_text(named, self.secret) if named else None
        self._apportion(reply)
        reply.reads_unresolved, reply.length = decoder.reads_unresolved, self.length
        final = self._ending(reply, ending)
        reply.outcome = final.outcome
        message = "; ".join(filter(None, (final.message, self._remark(final, doubt))))
        reply.message = safe_text(message, self.secret) if message else None
        if final.message and final.outcome in _SAID_BY_SERVER:
            message = f"{final.message} {decoded(self._body_bytes())}"
            reply.error_text = safe_text(message, self.secret, length=_MAX_ERROR_TEXT_LENGTH)
        reply.delivery = self._delivery(reply, asked)
        if reply.delivery == ONE_EVENT:
            reply.streamed = False
        if not reply.streamed:
            for choice in reply.choices:
                choice.events = TokenEvents()  # neither a JSON body nor a single event has token times

    def _finish_events(self) -> None:
        try:
            self.decoder.finish()
        except EventTooLargeError as error:
            self._problem = self._problem or str(error)

    def _delivery(self, reply: Reply, asked: bool) -> str | None:
        """Return how the answer came; `asked`: whether a stream was requested. None without text."""
        if not reply.text_bytes:
            return None
        if self._form is not BodyForm.EVENTS:
            return DOCUMENT if asked else UNSTREAMED
        return ONE_EVENT if reply.outcome is Outcome.COMPLETE and _came_in_one_event(reply) else STREAM

    def _apportion(self, reply: Reply) -> None:
        """Distribute tokens over events where the server counts only all of them together."""
        if len(reply.choices) != 1 or reply.choices[0].has_running_count or self.decoder.has_token_ids:
            return
        if reply.tokens_from == "usage" and reply.tokens_out is not None:
            apportion(reply.choices[0], reply.tokens_out - reply.tokens_unseen)

    def _take_document(self, *, complete: bool) -> None:
        events, problem = parse_document(self._body_bytes())
        if not complete and problem:
            return
        for event in events:
            self.decoder.take_event(0.0, event)  # `fill` drops the time
        self._problem = self._problem or problem

    def _unreadable_body(self) -> str:
        encoding = self.response.headers.get("content-encoding", "identity").lower()
        if encoding not in _NO_ENCODINGS and self._form is not BodyForm.PAGE:
            return f"content-encoding {encoding}, although identity was requested"
        body = self._body_bytes()
        if page := page_title(body):
            return f"{page} instead of a reply"
        self.decoder.error = self.decoder.error or error_in_body(body)
        return f"neither an event stream nor JSON: {decoded(body)}"

    def _remark(self, final: Ending, doubt: str | None) -> str | None:
        """Return what is worth knowing about a whole reply, or the last words of one that broke off."""
        decoder = self.decoder
        if final.outcome in FINISHED:
            unreadable = f"unreadable event: {decoder.first_unreadable}" if decoder.unreadable else None
            return "; ".join(filter(None, (doubt, unreadable))) or None
        if final.outcome in _BROKEN_OFF and decoder.last_words:
            return f"last received: {decoder.last_words}"
        return None

    def _ending(self, reply: Reply, ending: Ending | None) -> Ending:
        decoder = self.decoder
        if reply.status is not None and reply.status >= 300:
            return self._http_error(reply.status)
        if decoder.error:
            return _error_ending(decoder.error)
        if self._problem:
            return Ending(Outcome.BAD_DATA, self._problem)
        if ending is not None and not (ending.outcome in _HARMLESS_AFTER_FINISH and self._finished(reply)):
            return ending
        return self._unreadable_ending(reply) or _model_ending(reply, ending)

    def _unreadable_ending(self, reply: Reply) -> Ending | None:
        """Return the ending of a response without an event, or one whose unreadable events cost it too much."""
        decoder = self.decoder
        if reply.status is None or not (reply.choices or decoder.done):
            return Ending(Outcome.BAD_DATA, decoder.first_unreadable or "the response contains no completion event")
        unfinished = not all(choice.finish for choice in reply.choices)
        readable = sum(len(choice.events.at) for choice in reply.choices)
        if decoder.unreadable and (unfinished or decoder.unreadable > readable):
            return Ending(Outcome.BAD_DATA, decoder.first_unreadable)
        return None

    def _finished(self, reply: Reply) -> bool:
        """Whether every choice ended by the model; a finish reason of unknown meaning needs the stream's own end."""
        reasons = [choice.finish for choice in reply.choices]
        if not reasons or not all(reasons):
            return False
        return self.decoder.done or all(finish_kind(r) is not FinishKind.UNKNOWN for r in reasons if r)

    def _http_error(self, status: int) -> Ending:
        body = self._body_bytes()
        location = self.response.headers.get("location")
        if status < 400 and location:
            text = f"redirect to {shown_location(location)}"
        else:
            error = error_in_body(body, certain=True)
            text = error.message if error else page_title(body) or decoded(body)
        outcome = Outcome.REJECTED if status in BUSY_STATUSES else Outcome.HTTP_ERROR
        return Ending(outcome, f"HTTP {status}: {text}" if text.strip() else f"HTTP {status}")


def _came_in_one_event(reply: Reply) -> bool:
    """Whether a reply of several tokens was a stream of one event only: as if it had not been streamed."""
    if len(reply.choices) != 1 or len(reply.choices[0].events.at) != 1:
        return False
    if reply.tokens_from == "events":
        return len(reply.text) + len(reply.reasoning) >= _MIN_LENGTH_OF_SEVERAL_TOKENS
    return reply.tokens_out is not None and reply.tokens_out >= _MIN_TOKENS_OF_A_STREAM


def _error_ending(error: ServerError) -> Ending:
    outcome = Outcome.REJECTED if error.busy else Outcome.STREAM_ERROR
    return Ending(outcome, f"{error.code}: {error.message}" if error.code is not None else error.message)


def _model_ending(reply: Reply, ending: Ending | None) -> Ending:
    """Return how the model ended a complete response, or one broken off after all choices had finished."""
    finishes = [c.finish for c in reply.choices]
    kinds = {reason: finish_kind(reason) for reason in finishes if reason}
    failed = sorted(reason for reason, kind in kinds.items() if kind is FinishKind.FAILED)
    if failed:
        return Ending(Outcome.STREAM_ERROR, f"finish reason {' '.join(failed)}")
    if any(c.refused for c in reply.choices) or FinishKind.FILTERED in kinds.values():
        return Ending(Outcome.FILTERED)
    if None in finishes or not finishes:
        return Ending(Outcome.TRUNCATED, "the stream ended without a finish reason")
    silent = [c for c in reply.choices if not any(c.text)]
    if silent:  # the worst choice counts
        return Ending(Outcome.NO_ANSWER if any(any(c.reasoning) for c in silent) else Outcome.EMPTY)
    unknown = sorted(reason for reason, kind in kinds.items() if kind is FinishKind.UNKNOWN)
    remarks = [f"unknown finish reason {' '.join(unknown)}"] if unknown else []
    if ending:
        remarks.append(f"after its finish reason: {ending.message}")
    return Ending(Outcome.COMPLETE, "; ".join(remarks) or None)
