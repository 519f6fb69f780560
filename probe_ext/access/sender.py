"""Send a few requests through the measuring client, several at once, and return the replies as plain values.

For looks at a server without Locust: no rows, no statistics, no users.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import gevent

from probe_ext.access.endpoint import Endpoint, Payload
from probe_ext.client.api.openai_api import COMPLETION_PATH, chat_path
from probe_ext.client.exchange import Exchange, Limits
from probe_ext.client.reply import Reply
from probe_ext.client.wire.connection import Connection
from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.timeline import Pace
from probe_ext.prompts.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Question:
    """What one request asks for."""

    prompt: Prompt | Payload
    max_tokens: int
    streamed: bool = True
    hang_up_after: int | None = None
    """token events after which the client closes the connection; None: it reads the whole reply"""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """further fields of the body"""


@dataclass(frozen=True, slots=True)
class Answered:
    """One reply, however it ended. Moments are monotonic seconds, durations seconds; None: not reached or not told."""

    outcome: Outcome
    message: str | None
    error_text: str | None
    """all that the server said about an error"""
    status: int | None
    headers: Mapping[str, str]
    """of the response, by their names in lower case"""
    sent: float | None
    headers_at: float | None
    end: float
    resolve: float | None
    connect: float | None
    """None on a connection that was open already"""
    tls: float | None
    reused: bool
    """whether the connection was open already"""
    kept: bool
    """whether the connection was still open after the reply"""
    streamed: bool
    at: tuple[float, ...]
    """arrival of each token event of the first choice"""
    event_tokens: tuple[int, ...]
    visible: tuple[bool, ...]
    """False for reasoning"""
    pace: Pace | None
    text: str
    reasoning: str
    finish_reason: str | None
    tokens_in: int | None
    tokens_cached: int | None
    tokens_out: int | None
    tokens_from: str | None
    """`usage`, `token_ids` or `events`"""
    reads: int
    stamped: bool
    """whether the kernel stamped what was received"""
    lags: tuple[float, ...]
    """seconds from the kernel's receipt to our read, per read"""
    delivery: str | None
    """one of `DELIVERIES`; None without an answer"""
    via: str | None
    """software that the head names, the nearest first"""

    @property
    def ok(self) -> bool:
        """Whether the model finished its reply, be it only with reasoning, as a small `max_tokens` may have it."""
        return self.outcome in (Outcome.COMPLETE, Outcome.NO_ANSWER)

    @property
    def ttft(self) -> float | None:
        """Time to first token in seconds; None without token times."""
        return self.at[0] - self.sent if self.at and self.sent is not None else None

    @property
    def seconds(self) -> float | None:
        """Duration of the whole reply in seconds, from sending; None if nothing was sent."""
        return None if self.sent is None else self.end - self.sent


class Sender:
    """Sends to one server.

    Connections are kept between calls of `send` unless it is called with `fresh`; `close` closes them.
    """

    def __init__(self, endpoint: Endpoint, api: str, *, limits: Limits | None = None) -> None:
        self._endpoint, self._api = endpoint, api
        self._limits = limits or endpoint.limits
        self._idle: list[Connection] = []

    def send(
        self, questions: Sequence[Question], at_once: int, *, fresh: bool = False, seconds: float | None = None
    ) -> list[Answered]:
        """Send all questions, `at_once` of them at any time; return the replies in the order of the questions.

        `fresh`: each on a new connection. `seconds`: end what is not answered by then, as ended by us; what was not
        sent is left out.
        """
        batch = _Batch(self, questions, fresh)
        workers = min(at_once, len(questions))
        if not fresh:
            batch.connections = [
                self._idle.pop() if self._idle else self._endpoint.connection() for _ in range(workers)
            ]
        greenlets = [gevent.spawn(batch.work, worker) for worker in range(workers)]
        try:
            gevent.joinall(greenlets, timeout=seconds, raise_error=True)
            batch.stop()
            gevent.joinall(greenlets, raise_error=True)
        finally:
            gevent.killall(greenlets)
            self._idle += batch.connections
        return [batch.answers[number] for number in sorted(batch.answers)]

    def ask(self, question: Question, *, fresh: bool = False) -> Answered:
        """Send one question."""
        return self.send([question], 1, fresh=fresh)[0]

    def take_idle(self) -> tuple[Connection, ...]:
        """Return the kept connections, which are the caller's from now on."""
        taken, self._idle = tuple(self._idle), []
        return taken

    def close(self) -> None:
        """Close all connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def connection(self) -> Connection:
        """Return a new connection, not yet open."""
        return self._endpoint.connection()

    def exchange(self, connection: Connection, question: Question) -> Exchange:
        """Prepare the exchange for one question."""
        prompt = question.prompt
        completion = self._api == "completion" and (prompt.text is not None if isinstance(prompt, Prompt) else True)
        path = COMPLETION_PATH if completion else chat_path(self._api)
        parameters = {"max_tokens": question.max_tokens, **question.parameters}
        payload = _payload(prompt, completion=completion)
        return Exchange(
            connection,
            self._endpoint.request(path, payload, question.streamed, parameters),
            self._limits,
            due=clock.monotonic(),
            streamed=question.streamed,
            secret=self._endpoint.secrets,
            choices=self._endpoint.choices(parameters),
            hang_up_after=question.hang_up_after,
        )


class _Batch:
    """Questions that are being sent."""

    def __init__(self, sender: Sender, questions: Sequence[Question], fresh: bool) -> None:
        self._sender, self._fresh = sender, fresh
        self._pending = iter(enumerate(questions))
        self._running: set[Exchange] = set()
        self._stopped = False
        self.connections: list[Connection] = []
        """of each worker, if they are kept"""
        self.answers: dict[int, Answered] = {}

    def work(self, worker: int) -> None:
        """Send one question after another until there are none."""
        for number, question in self._pending:
            if self._stopped:
                return
            connection = self._sender.connection() if self._fresh else self.connections[worker]
            try:
                self.answers[number] = self._ask(connection, question)
            finally:
                if self._fresh:
                    connection.close()

    def stop(self) -> None:
        """End what is still going on."""
        self._stopped = True
        for exchange in list(self._running):
            exchange.cancel()

    def _ask(self, connection: Connection, question: Question) -> Answered:
        reused = connection.usable()
        exchange = self._sender.exchange(connection, question)
        self._running.add(exchange)
        try:
            exchange.run()
        finally:
            self._running.discard(exchange)
            reply = exchange.finish()
        return answered(reply, exchange.headers, reused=reused, connection=connection)


def _payload(prompt: Prompt | Payload, *, completion: bool) -> Payload:
    if not isinstance(prompt, Prompt):
        return prompt
    return prompt.text if completion and prompt.text is not None else prompt.messages


def answered(reply: Reply, headers: Mapping[str, str], *, reused: bool, connection: Connection) -> Answered:
    """Return a finished reply as a frozen value."""
    marks, first = reply.marks, reply.choices[0].events if reply.choices else None
    return Answered(
        outcome=reply.outcome,
        message=reply.message,
        error_text=reply.error_text,
        status=reply.status,
        headers=MappingProxyType(dict(headers)),
        sent=marks.sent,
        headers_at=marks.headers,
        end=marks.end or marks.due,
        resolve=marks.resolve,
        connect=marks.connect,
        tls=marks.tls,
        reused=reused and marks.connect is None,
        kept=connection.usable(),
        streamed=reply.streamed,
        at=tuple(first.at) if first else (),
        event_tokens=tuple(first.tokens) if first else (),
        visible=tuple(first.visible) if first else (),
        pace=reply.pace,
        text=reply.text,
        reasoning=reply.reasoning,
        finish_reason=reply.finish_reason,
        tokens_in=reply.tokens_in,
        tokens_cached=reply.tokens_cached,
        tokens_out=reply.tokens_out,
        tokens_from=reply.tokens_from,
        reads=reply.reads,
        stamped=connection.stamped,
        lags=tuple(reply.lags),
        delivery=reply.delivery,
        via=reply.via,
    )


def is_answered(reply: Answered) -> bool:
    """Whether the server did its work. Reasoning cut off by a short limit counts, too."""
    return reply.ok or bool(reply.at)
