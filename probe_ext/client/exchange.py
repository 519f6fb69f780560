"""Send one request on a user's connection and follow its reply to the end.

Deadlines are checked when the greenlet wakes up. Events are parsed then, so a keep-alive comment or a role-only delta
is not taken for a token.
"""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import gevent

from probe_ext.client.reply import Ending, Reply, ReplyReader
from probe_ext.client.wire.connection import ConnectError, Connection, SlowServerError
from probe_ext.client.wire.http_framing import BadResponseError
from probe_ext.client.wire.kernel_receive import Arrivals
from probe_ext.client.wire.native.native_arrivals import NativeArrivals
from probe_ext.client.wire.native.native_stream import NativeStream
from probe_ext.client.wire.response_stream import ResponseStream
from probe_ext.measure import clock
from probe_ext.measure.outcome import FINISHED, Outcome
from probe_ext.measure.safe_text import Secrets
from probe_ext.measure.timeline import Marks
from probe_ext.measure.unfinished import Progress
from probe_ext.tls_trust import why_refused

_CLOSING_GRACE_S = 1.0
"""how long a response may take to end after its `[DONE]`"""
_MAX_FINAL_SLICES = 16
_STALE_CONNECTION_S = 1.0
"""a reused connection that ends without a reply this soon was closed before our request arrived"""

_Stream = ResponseStream | NativeStream


@dataclass(frozen=True)
class Limits:
    """Timeouts of a reply, in seconds."""

    connect: float = 10.0
    first: float = 120.0
    gap: float = 120.0
    total: float = 1800.0
    patience: float | None = None
    """the simulated user hangs up after this long without a token; None: never"""


class Exchange:
    """One request and its reply.

    `run` follows the reply to its end. `finish` must be called once after it, even if the greenlet was killed, and
    returns the reply in any case. `cancel` ends the exchange from another greenlet.
    """

    def __init__(  # noqa: PLR0913 -- the last six by name only
        self,
        connection: Connection,
        request: bytes,
        limits: Limits,
        *,
        due: float,
        streamed: bool,
        secret: Secrets,
        free: float | None = None,
        choices: int = 1,
        hang_up_after: int | None = None,
    ) -> None:
        """Prepare one request.

        `due`: when the user wanted to send; `free`: when its previous reply ended, if that was later; `choices`: the
        request's `n`; `hang_up_after`: token events after which to close the connection.
        """
        self._connection = connection
        self._request = request
        self._limits = limits
        self._marks = Marks(due=due)
        self._streamed = streamed
        self._hang_up_after = hang_up_after
        self._could_send = due if free is None else max(due, free)
        self._reader = ReplyReader(secret, choices)
        self._stream: _Stream | None = None
        self._ending: Ending | None = Ending(Outcome.ENDED_BY_US)
        self._cancelled = False
        self._parsed_at = due
        self._segments_before: int | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers, by their names in lower case."""
        return self._reader.response.headers

    def look(self) -> Progress | None:
        """Return the reply as it was last parsed, and have it parsed again before the next look.

        None if it is not streamed or not requested yet. An event counts as one token unless the server counts.
        """
        if not self._streamed or self._stream is None or self._marks.sent is None:
            return None
        self._stream.wake()
        begun = [choice for choice in self._reader.decoder.choices.values() if choice.events.at]
        first = min((choice.events.at[0] for choice in begun), default=None)
        tokens = max((max(choice.server_count, len(choice.events.at)) for choice in begun), default=0)
        return Progress(self._marks.sent, self._parsed_at, first, tokens)

    def cancel(self) -> None:
        """End the exchange now, as ended by us."""
        self._cancelled = True
        if self._stream:
            self._stream.wake()
        else:
            self._connection.interrupt()

    def run(self) -> None:
        """Send the request and read until the reply ends or a limit passes. Raises only internal errors."""
        self._marks.late = max(0.0, clock.monotonic() - self._could_send)
        try:
            self._ending = self._send_and_read()
        except Exception as error:
            self._ending = Ending(Outcome.CLIENT_ERROR, f"{type(error).__name__}: {error}")
            raise

    def fail(self, message: str) -> None:
        """End the exchange before it began, through a fault of this side; `finish` follows as after `run`."""
        self._ending = Ending(Outcome.CLIENT_ERROR, message)

    def _send_and_read(self) -> Ending | None:
        reused = self._connection.usable()
        ending = self._attempt(connected=reused)
        if reused and self._closed_unanswered(ending):
            # The server closed an idle connection just as we used it; like every HTTP client, retry once.
            self._discard_connection()
            ending = self._attempt(connected=False)
        return ending

    def _closed_unanswered(self, ending: Ending | None) -> bool:
        unanswered = not self._reader.response.reads
        soon = clock.monotonic() - (self._marks.sent or 0.0) < _STALE_CONNECTION_S
        return unanswered and soon and ending is not None and ending.outcome is Outcome.CUT

    def _discard_connection(self) -> None:
        if self._stream is not None:
            self._stream.stop()
        self._stream = None
        self._connection.close()

    def _attempt(self, *, connected: bool) -> Ending | None:
        """Connect if necessary, send and read. Returns how the exchange was broken off, None for a whole response."""
        if not connected:
            try:
                setup = self._connection.open(self._limits.connect)
            except ConnectError as error:
                return Ending(Outcome.ENDED_BY_US) if self._cancelled else Ending(_connect_outcome(error), str(error))
            self._marks.resolve, self._marks.connect, self._marks.tls = setup.resolve, setup.connect, setup.tls
        if self._cancelled:
            return Ending(Outcome.ENDED_BY_US)
        return self._exchange()

    def _exchange(self) -> Ending | None:
        """Send and read. A server that hangs up while we send may have sent an HTTP error first, which then counts."""
        send_failure = self._send()
        if send_failure is not None and send_failure.outcome is not Outcome.CUT:
            return send_failure
        try:
            self._stream = self._connection.receive(
                self._marks.sent or self._marks.due, may_defer=self._hang_up_after is None
            )
        except OSError as error:
            return send_failure or Ending(Outcome.CLIENT_ERROR, f"cannot read the socket: {error.strerror or error}")
        ending = self._read_response(self._stream)
        answered = self._reader.response.status is not None or isinstance(self._stream.failure, ssl.SSLError)
        return ending if send_failure is None or answered else send_failure

    def _send(self) -> Ending | None:
        """Send the request; return how that failed, None if it did not."""
        try:
            wire = self._connection.to_wire(self._request)
            self._segments_before = self._connection.segments_before_request
            self._marks.sent = clock.monotonic()  # in case the connection is lost already
            self._marks.sent, rest = self._connection.begin_send(wire)
            if rest:
                deadline, outcome = self._next_deadline()
                self._connection.send_rest(rest, deadline)
        except SlowServerError:
            return self._ending_at_deadline(outcome)
        except OSError as error:
            if self._cancelled:
                return Ending(Outcome.ENDED_BY_US)
            return Ending(Outcome.CUT, f"while sending: {error.strerror or error}")
        return None

    def _read_response(self, stream: _Stream) -> Ending | None:
        drained_for = None
        # Not parsed before it wants attention, as a head alone does not: most replies are parsed once, at their end.
        stream.wait(min(self._next_deadline()[0] - clock.monotonic(), self._limits.gap))
        while True:
            self._parse_arrivals(stream)
            if self._is_over(stream):
                return self._failure_ending(stream)
            if self._cancelled:
                return Ending(Outcome.ENDED_BY_US)
            if self._has_enough():
                events = "token event" if self._hang_up_after == 1 else "token events"
                return Ending(Outcome.HUNG_UP, f"hung up after {self._hang_up_after} {events}")
            now = clock.monotonic()
            deadline, outcome = self._next_deadline()
            if now < deadline:
                # A token may arrive and the stream fall silent while we sleep: check again before the gap limit passes.
                stream.wait(min(deadline - now, self._limits.gap))
            elif deadline != drained_for and stream.drain_socket():
                drained_for = deadline  # we may be late, not the server; only once per deadline
            else:
                return self._ending_at_deadline(outcome)

    def _parse_arrivals(self, stream: _Stream, *, at_end: bool = False) -> None:
        """Parse what has arrived. A flood is parsed in slices, between which others get their turn.

        `at_end`: without turns, since this greenlet may be killed a second time; of a flood, then only a part.
        """
        until, self._parsed_at = self._next_deadline()[0], clock.monotonic()
        slices: Iterator[Arrivals | NativeArrivals] = stream.take_arrivals().slices()
        for number, arrivals in enumerate(slices):
            if number and not at_end:
                gevent.sleep(0)
            if number and (number >= _MAX_FINAL_SLICES if at_end else self._cancelled or clock.monotonic() > until):
                break
            self._reader.feed(arrivals)
        self._marks.headers = self._reader.response.headers_at
        stream.defer_wakeups = self._reader.expects_events and self._hang_up_after is None

    def _has_enough(self) -> bool:
        if self._hang_up_after is None:
            return False
        return sum(len(choice.events.at) for choice in self._reader.decoder.choices.values()) >= self._hang_up_after

    def _is_over(self, stream: _Stream) -> bool:
        return stream.ended or self._reader.failure is not None or self._reader.response.complete

    def _failure_ending(self, stream: _Stream) -> Ending | None:
        """Return why the response will stay incomplete, None if it is complete."""
        response = self._reader.response
        failure = None if response.complete else self._reader.failure or stream.failure
        if failure is None and stream.ended and not response.end_of_stream():
            failure = ConnectionError("the connection closed in mid-reply")
        return None if failure is None else _ending_of_failure(failure)

    def _next_deadline(self) -> tuple[float, Outcome | None]:
        """Return the next time to give up, and the outcome it would be; None for a whole response."""
        limits, decoder = self._limits, self._reader.decoder
        sent = self._marks.sent or self._marks.due
        last = decoder.last_at
        if decoder.done:
            quiet_since = self._stream.last_at if self._stream and self._stream.last_at else sent
            return quiet_since + _CLOSING_GRACE_S, None
        deadline, outcome = sent + limits.total, Outcome.TIMEOUT_TOTAL
        if limits.patience is not None:
            hang_up = (self._marks.due if last is None else last) + limits.patience
            if hang_up < deadline:
                deadline, outcome = hang_up, Outcome.HUNG_UP
        if self._streamed:  # else nothing comes before the whole reply, however long it takes
            silent, late = (limits.first, Outcome.TIMEOUT_FIRST) if last is None else (limits.gap, Outcome.STALLED)
            since = sent if last is None else last
            if since + silent <= deadline:
                deadline, outcome = since + silent, late
        return deadline, outcome

    def _ending_at_deadline(self, outcome: Outcome | None) -> Ending | None:
        limits = self._limits
        messages = {
            Outcome.TIMEOUT_FIRST: f"no token within {limits.first:g} s",
            Outcome.STALLED: f"no further token for {limits.gap:g} s",
            Outcome.TIMEOUT_TOTAL: f"not finished within {limits.total:g} s",
            Outcome.HUNG_UP: f"hung up after {limits.patience or 0:g} s",
        }
        return None if outcome is None else Ending(outcome, messages[outcome])

    def _end_time(self, stream: _Stream, outcome: Outcome) -> float | None:
        """Return when a reply that ended by itself did: with its last bytes, not when we noticed."""
        if self._reader.response.complete and stream.bytes_at is not None:
            return stream.bytes_at
        return stream.last_at if self._is_over(stream) or outcome in FINISHED else None

    def finish(self) -> Reply:
        """Return the reply with everything measured; close the connection unless it can be reused."""
        stream, response = self._stream, self._reader.response
        reply = Reply(self._marks, self._streamed, Outcome.ENDED_BY_US)
        self._marks.end = clock.monotonic()
        if stream is not None:
            # What follows a complete response is unexpected: counted first, then looked for, so that it is noticed.
            segments = self._connection.count_segments() if response.complete else None
            stream.drain_socket()
            if stream.stop():
                self._parse_arrivals(stream, at_end=True)
            segments = self._connection.count_segments() if segments is None else segments
            reply.status, reply.reads = response.status, response.reads
            reply.lags, reply.overdue = stream.lags, stream.overdue
            if segments is not None and self._segments_before is not None:
                reply.segments = max(0, segments - self._segments_before)
        self._reader.fill(reply, self._ending)
        if stream is not None:
            if reply.streamed:
                stream.report_unresolved(reply.reads, reply.reads_unresolved)
            self._marks.end = self._end_time(stream, reply.outcome) or self._marks.end
        if stream is None or stream.ended or not (response.complete and response.keep_alive):
            self._connection.close()
        response.close()
        return reply


def _connect_outcome(error: ConnectError) -> Outcome:
    if error.local:
        return Outcome.CLIENT_ERROR
    return Outcome.CONNECT_TIMEOUT if error.timed_out else Outcome.CONNECT_FAILED


def _ending_of_failure(failure: Exception) -> Ending:
    """Return the ending for a failed read. Failures of neither connection nor response are internal: raised."""
    if isinstance(failure, ssl.SSLError):
        return Ending(Outcome.CUT, why_refused(failure) or f"TLS: {failure.reason or failure}")
    if isinstance(failure, OSError):
        return Ending(Outcome.CUT, failure.strerror or str(failure))
    if isinstance(failure, BadResponseError):
        return Ending(Outcome.BAD_DATA, str(failure))
    raise failure
