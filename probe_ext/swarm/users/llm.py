"""`self.llm`: send requests to the server under test, measured and recorded."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import gevent
from locust.env import Environment

from probe_ext.access.endpoint import Endpoint, Payload
from probe_ext.client.api import openai_api
from probe_ext.client.api.request_form import RequestForm
from probe_ext.client.exchange import Exchange
from probe_ext.client.reply import Reply
from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.measure.timeline import gaps
from probe_ext.prompts.prompt import Prompt
from probe_ext.settings.options import Options
from probe_ext.swarm.users import events
from probe_ext.swarm.users.arrivals import Arrival
from probe_ext.swarm.users.recorder import Recorder, RequestInfo

REPLY, TTFT, GAP = "LLM", "TTFT ≥ 10 ms", "longest gap ≥ 10 ms"
"""types of our rows in Locust's statistics"""
LOCUST_FLOOR_S = 0.010  # Locust keeps whole milliseconds: shorter times would be mostly rounding error
_FAST_FAILURE_S = 0.5
_FAILURE_BACKOFF_S = 1.0  # after a fast failure: nobody asks a dead server 1,000 times a second


class Llm:
    """One simulated user's client, with a connection of its own that is kept alive between requests."""

    def __init__(  # noqa: PLR0913 -- internal
        self,
        environment: Environment,
        recorder: Recorder,
        options: Options,
        model: str,
        scenario: str,
        form: RequestForm | None = None,
        next_arrival: Callable[[], Arrival] | None = None,
        *,
        host: str | None = None,
    ) -> None:
        """`next_arrival`: waits for the next request of an open stream; None for a user who waits for replies.

        `host`: the server of this scenario alone; None: the run's.
        """
        self._environment = environment
        self._recorder = recorder
        self._options = options
        self._scenario = scenario
        self._endpoint = Endpoint(host or environment.host or "", options, model, form)
        self._windows_of = scenario if host else ""
        self._connection = self._endpoint.connection()
        self.user = recorder.new_user()
        self._next_arrival = next_arrival
        self._arrival: Arrival | None = None
        """which the next request is for, if it was waited for before"""
        self._last_end = None if next_arrival is None else clock.monotonic()
        """monotonic seconds at which the last reply ended, or the slot of an open stream was made"""

    def chat(
        self,
        messages: str | Prompt | Sequence[Mapping[str, Any]],
        *,
        due: float | None = None,
        name: str | None = None,
        stream: bool | None = None,
        **parameters: Any,
    ) -> Reply:
        """Send messages to `/v1/chat/completions`, Responses or Messages (--api); return the reply once it has ended.

        A string is sent as one user message. `due` (monotonic seconds) is when the user wanted to send, if that was
        before this call; in an open stream (--rate) the schedule sets it. `name` is the row in Locust's statistics, and
        `scenario` in ours. `parameters` go into the body and override the options (max_tokens, …). A failed
        reply does not raise: see its `outcome`.
        """
        made = messages if isinstance(messages, Prompt) else None
        if isinstance(messages, Prompt):
            parameters = {**messages.fields, **parameters}
            messages = messages.messages
        payload = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        kind = "turn" if any(message.get("role") == "assistant" for message in payload) else "chat"
        return self._ask(
            openai_api.chat_path(self._options.api), payload, kind, due, name, stream, parameters, made=made
        )

    def complete(
        self,
        prompt: str | Prompt,
        *,
        due: float | None = None,
        name: str | None = None,
        stream: bool | None = None,
        **parameters: Any,
    ) -> Reply:
        """Send a request to `/v1/completions`; otherwise like `chat`."""
        made = prompt if isinstance(prompt, Prompt) else None
        if isinstance(prompt, Prompt):
            if prompt.text is None:
                raise ValueError("a conversation cannot be sent as a plain prompt: use chat()")
            parameters = {**prompt.fields, **parameters}
            prompt = prompt.text
        return self._ask(openai_api.COMPLETION_PATH, prompt, "completion", due, name, stream, parameters, made=made)

    def ask(self, prompt: Prompt, **how: Any) -> Reply:
        """Send a request to the API in --api."""
        return self.complete(prompt, **how) if self._options.api == "completion" else self.chat(prompt, **how)

    @property
    def in_open_stream(self) -> bool:
        """Whether a schedule says when requests are sent, and not the user."""
        return self._next_arrival is not None

    def await_arrival(self) -> Arrival:
        """Wait for the arrival of an open stream that the next request is for."""
        assert self._next_arrival is not None  # noqa: S101 -- by the caller
        self._wait_if_ending()
        self._arrival = self._next_arrival()
        return self._arrival

    def release_arrival(self) -> Arrival | None:
        """Return the arrival that was waited for and not used, if there is one: no request will be made for it."""
        arrival, self._arrival = self._arrival, None
        return arrival

    def sibling(self) -> "Llm":
        """Return another client of the same user, with a connection of its own: for requests at the same time."""
        other = copy(self)
        vars(other).update(_connection=self._endpoint.connection(), _arrival=None, _last_end=None)
        return other

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _wait_if_ending(self) -> None:
        while self._recorder.ending:
            gevent.sleep(3600)  # the run is over: wait to be killed

    def _ask(  # noqa: PLR0913 -- internal
        self,
        path: str,
        payload: Payload,
        kind: str,
        due: float | None,
        name: str | None,
        stream: bool | None,
        parameters: Mapping[str, Any],
        *,
        made: Prompt | None,
    ) -> Reply:
        arrival = self.release_arrival()
        if arrival is None:
            self._wait_if_ending()
            arrival = self._next_arrival() if self._next_arrival else None
        began = clock.monotonic()
        due = arrival.due if arrival else began if due is None else due
        streamed = not self._options.no_stream if stream is None else stream
        request, mistake = b"", None
        try:
            request = self._endpoint.request(path, payload, streamed, parameters)
        except (TypeError, ValueError) as error:  # what the locustfile wants to send is not JSON: a row says so
            mistake = f"the request cannot be sent: {error}"
        exchange = Exchange(
            self._connection,
            request,
            self._endpoint.limits,
            due=due,
            streamed=streamed,
            secret=self._endpoint.secrets,
            free=max(self._last_end or 0.0, arrival.ready) if arrival else self._last_end,
            choices=self._endpoint.choices(parameters),
        )
        number = self._recorder.start(exchange, arrival.number if arrival else None)
        name = self._windows_of or name or self._scenario  # a server's rows are told by their scenario
        lengths = (made.asked_tokens, made.shared_tokens) if made else (None, None)
        info = RequestInfo(self.user, name, kind, *lengths, self._windows_of)
        try:
            if mistake is None:
                exchange.run()
            else:
                exchange.fail(mistake)
        finally:
            reply = exchange.finish()
            self._recorder.note_connection(self._connection.stamped, self._connection.reading_path)
            row = self._recorder.end(exchange, reply, info, number)
            self._last_end = row.end
            if self._options.reconnect:
                self._connection.close()
            self._fire_events(reply, row, name, path)
        if arrival is None and is_failure(reply.outcome) and row.end - began < _FAST_FAILURE_S:
            gevent.sleep(_FAILURE_BACKOFF_S)
        return reply

    def _fire_events(self, reply: Reply, row: ReplyRow, name: str, path: str) -> None:
        """Fire Locust's event, except for replies that we aborted, and ours."""
        if reply.outcome is not Outcome.ENDED_BY_US:
            self._environment.events.request.fire(
                request_type=REPLY,
                name=name,
                response_time=1000 * (row.end - row.due),
                response_length=reply.length,
                exception=ReplyFailedError(row.outcome, reply.message) if is_failure(reply.outcome) else None,
                context={"reply": reply, "row": row},
                response=None,
                url=path,
            )
            self._log_own_rows(name, row)
        if row.first is not None and row.sent is not None:
            events.first_token.fire(reply=reply, row=row, seconds=row.first - row.sent)
        if events.token_gap.has_listeners:
            seconds = [gap for choice in reply.events for gap in gaps(choice.at)]
            if seconds:
                events.token_gap.fire(reply=reply, row=row, seconds=seconds)
        events.reply.fire(reply=reply, row=row)

    def _log_own_rows(self, name: str, row: ReplyRow) -> None:
        """Add TTFT and longest gap to Locust's statistics, but not to *Aggregated*."""
        stats = self._environment.stats
        ttft = row.first - row.sent if row.first is not None and row.sent is not None else None
        for kind, seconds in ((TTFT, ttft), (GAP, row.longest_gap)):
            if seconds is not None and seconds >= LOCUST_FLOOR_S:
                stats.get(name, kind).log(1000 * seconds, 0)


class ReplyFailedError(Exception):
    """What Locust lists under failures: the outcome, and the error message."""

    def __init__(self, outcome: str, message: str | None) -> None:
        super().__init__(f"{outcome}: {message}" if message else outcome)
