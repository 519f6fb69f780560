"""Send one request on a user's connection and follow its reply to the end.

Deadlines are looked at when the greenlet wakes: events are parsed then, so a keep-alive comment or a role-only delta
does not pass for a token.
"""

import ssl
from dataclasses import dataclass

from probe_ext.client.connection import ConnectError, Connection, Reception, SlowServerError
from probe_ext.client.http_framing import BadResponseError
from probe_ext.client.reply import Ending, Reply, ReplyReader
from probe_ext.measure import clock
from probe_ext.measure.outcome import FINISHED, Outcome
from probe_ext.measure.timeline import Marks

_CLOSING_GRACE = 1.0
"""seconds that a response may take to end after its `[DONE]`"""
_STALE = 1.0
"""seconds: a kept connection that ends unanswered within them was closed before our request came; later, it broke"""


@dataclass(frozen=True)
class Limits:
    """How long a reply may take, in seconds."""

    connect: float = 10.0
    first: float = 120.0
    gap: float = 120.0
    total: float = 1800.0
    patience: float | None = None
    """after so long without a first or a further token the simulated user hangs up; None: never"""


class Conversation:
    """One request and its reply.

    `run` follows it to its end; `finish` gives the reply whatever happened, also when `run` was left by the greenlet's
    being killed, and must be called once, after it. `cut` ends it from another greenlet.
    """

    def __init__(
        self,
        connection: Connection,
        request: bytes,
        limits: Limits,
        *,
        due: float,
        streamed: bool,
        secret: str | None,
        free: float | None = None,
    ) -> None:
        """`due`: when the user wanted to send; `free`: when its last reply had ended, if that was later."""
        self._connection = connection
        self._request = request
        self._limits = limits
        self._marks = Marks(due=due)
        self._streamed = streamed
        self._could_send = due if free is None else max(due, free)
        self._reader = ReplyReader(secret)
        self._reception: Reception | None = None
        self._ending: Ending | None = Ending(Outcome.ENDED_BY_US)
        self._cut = False

    def cut(self) -> None:
        """End it now, as ended by us."""
        self._cut = True
        if self._reception:
            self._reception.nudge()
        else:
            self._connection.interrupt()

    def run(self) -> None:
        """Send, and read until the reply ends or a limit passes. What is raised is a defect of ours, or a kill."""
        self._marks.late = max(0.0, clock.monotonic() - self._could_send)
        try:
            self._ending = self._ask()
        except Exception as defect:
            self._ending = Ending(Outcome.CLIENT_ERROR, f"{type(defect).__name__}: {defect}")
            raise

    def _ask(self) -> Ending | None:
        kept = self._connection.usable()
        ending = self._attempt()
        if kept and self._unanswered(ending):
            # The server closed a kept connection at the moment we used it; every HTTP client asks once more.
            self._forget()
            ending = self._attempt()
        return ending

    def _unanswered(self, ending: Ending | None) -> bool:
        nothing = not self._reader.response.reads
        at_once = clock.monotonic() - (self._marks.sent or 0.0) < _STALE
        return nothing and at_once and ending is not None and ending.outcome is Outcome.CUT

    def _forget(self) -> None:
        if self._reception is not None:
            self._reception.stop()
        self._reception = None
        self._connection.close()

    def _attempt(self) -> Ending | None:
        """Connect if need be, send, follow; how it was broken off, or None if the response came whole."""
        if not self._connection.usable():
            try:
                set_up = self._connection.open(self._limits.connect)
            except ConnectError as error:
                return Ending(Outcome.ENDED_BY_US) if self._cut else Ending(_connect_outcome(error), str(error))
            self._marks.connect, self._marks.tls = set_up.connect, set_up.tls
        if self._cut:
            return Ending(Outcome.ENDED_BY_US)
        return self._exchange()

    def _exchange(self) -> Ending | None:
        """Send and follow. A server that hangs up while we send may have said why: an HTTP error then wins."""
        unsent = self._send()
        if unsent is not None and unsent.outcome is not Outcome.CUT:
            return unsent
        try:
            self._reception = self._connection.receive(self._marks.sent or self._marks.due)
        except OSError as error:
            return unsent or Ending(Outcome.CLIENT_ERROR, f"its socket cannot be read: {error.strerror or error}")
        ending = self._follow(self._reception)
        return ending if unsent is None or self._reader.response.status is not None else unsent

    def _send(self) -> Ending | None:
        """Hand the request over; how that failed, if it did."""
        try:
            wire = self._connection.wire(self._request)
            self._marks.sent = clock.monotonic()
            deadline, ending = self._next_deadline()
            self._connection.send(wire, deadline)
        except SlowServerError:
            return ending
        except OSError as error:
            if self._cut:
                return Ending(Outcome.ENDED_BY_US)
            return Ending(Outcome.CUT, f"while sending: {error.strerror or error}")
        return None

    def _follow(self, reception: Reception) -> Ending | None:
        caught_up_for = None
        while True:
            self._read_on(reception)
            if self._over(reception):
                return self._broken_off(reception)
            if self._cut:
                return Ending(Outcome.ENDED_BY_US)
            now = clock.monotonic()
            deadline, ending = self._next_deadline()
            if now < deadline:
                # A token may come and the stream fall silent while we sleep: look again before that could be too late.
                reception.wait(min(deadline - now, self._limits.gap))
            elif deadline != caught_up_for and reception.catch_up():
                caught_up_for = deadline  # we were late, not the server; once a deadline, whatever it goes on to send
            else:
                return ending

    def _read_on(self, reception: Reception) -> None:
        self._reader.take(reception.arrivals())
        self._marks.headers = self._reader.response.headers_at
        reception.flows = self._reader.flows

    def _over(self, reception: Reception) -> bool:
        return reception.ended or self._reader.failure is not None or self._reader.response.complete

    def _broken_off(self, reception: Reception) -> Ending | None:
        """Why nothing more will come though the response is not whole; None where it is."""
        response = self._reader.response
        failure = None if response.complete else self._reader.failure or reception.failure
        if failure is None and reception.ended and not response.end_of_stream():
            failure = ConnectionError("the connection ended in mid-reply")
        return None if failure is None else _broken(failure)

    def _next_deadline(self) -> tuple[float, Ending | None]:
        """When to give up next, and what that would be called."""
        limits, decoder = self._limits, self._reader.decoder
        sent = self._marks.sent or self._marks.due
        last = decoder.last_at
        if decoder.done:
            quiet = self._reception.last_at if self._reception and self._reception.last_at else sent
            return quiet + _CLOSING_GRACE, None
        if last is None:
            ends = [(sent + limits.first, Ending(Outcome.TIMEOUT_FIRST, f"no token within {limits.first:g} s"))]
        else:
            ends = [(last + limits.gap, Ending(Outcome.STALLED, f"no further token within {limits.gap:g} s"))]
        ends.append((sent + limits.total, Ending(Outcome.TIMEOUT_TOTAL, f"not over within {limits.total:g} s")))
        if limits.patience is not None:
            since = self._marks.due if last is None else last
            ends.append((since + limits.patience, Ending(Outcome.HUNG_UP, f"gave up after {limits.patience:g} s")))
        return min(ends, key=lambda end: end[0])

    def _end_of(self, reception: Reception, outcome: Outcome) -> float | None:
        """When a reply that ended by itself did: with its last bytes, not when we saw that no more would come."""
        if self._reader.response.complete and reception.bytes_at is not None:
            return reception.bytes_at
        return reception.last_at if self._over(reception) or outcome in FINISHED else None

    def finish(self) -> Reply:
        """The reply with all that was measured; keeps the connection if it can serve again, else closes it."""
        reception, response = self._reception, self._reader.response
        reply = Reply(self._marks, self._streamed, Outcome.ENDED_BY_US)
        self._marks.end = clock.monotonic()
        if reception is not None:
            reception.catch_up()
            reception.stop()
            self._read_on(reception)
            reply.status, reply.reads = response.status, response.reads
            reply.lags, reply.overdue = reception.lags, reception.overdue
        self._reader.fill(reply, self._ending)
        if reception is not None:
            if reply.streamed:
                reception.learn(reply.reads, reply.reads_unresolved)
            self._marks.end = self._end_of(reception, reply.outcome) or self._marks.end
        if reception is None or reception.ended or not (response.complete and response.keep_alive):
            self._connection.close()
        response.close()
        return reply


def _connect_outcome(error: ConnectError) -> Outcome:
    if error.ours:
        return Outcome.CLIENT_ERROR
    return Outcome.CONNECT_TIMEOUT if error.timed_out else Outcome.CONNECT_FAILED


def _broken(failure: Exception) -> Ending:
    """What a failure to read means. Any other than those of a connection or a response is ours: raised, to the task."""
    if isinstance(failure, ssl.SSLError):
        return Ending(Outcome.CUT, f"TLS: {failure.reason or failure}")
    if isinstance(failure, OSError):
        return Ending(Outcome.CUT, failure.strerror or str(failure))
    if isinstance(failure, BadResponseError):
        return Ending(Outcome.BAD_DATA, str(failure))
    raise failure
