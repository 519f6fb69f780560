"""`self.llm`: ask the server under test, and have everything measured and recorded."""

from collections.abc import Mapping, Sequence
from typing import Any

import gevent
from locust.env import Environment

from probe_ext.client import openai_api
from probe_ext.client.exchange import Exchange
from probe_ext.client.reply import Reply
from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.measure.timeline import gaps
from probe_ext.prompts.prompt import Prompt
from probe_ext.settings.options import Options
from probe_ext.swarm.users import events
from probe_ext.swarm.users.endpoint import Door
from probe_ext.swarm.users.recorder import Asked, Recorder

REPLY, TTFT, GAP = "LLM", "TTFT ≥ 10 ms", "longest gap ≥ 10 ms"
"""the types of our lines in Locust's table"""
LOCUST_FLOOR = 0.010
"""seconds: Locust keeps whole milliseconds, so shorter figures would be mostly rounding; they stay out of its tables"""
_FAILED_FAST = 0.5
_BREATH = 1.0
"""seconds that a user waits after a reply that failed at once: no person asks a dead server 1,000 times a second"""


class Llm:
    """One simulated user's way to the server: its own connection, kept between replies."""

    def __init__(
        self, environment: Environment, recorder: Recorder, options: Options, model: str, scenario: str
    ) -> None:
        self._environment = environment
        self._recorder = recorder
        self._options = options
        self._scenario = scenario
        self._door = Door(environment.host or "", options, model)
        self._connection = self._door.connection()
        self.user = recorder.new_user()
        self._free: float | None = None
        """when the last reply ended, monotonic seconds"""

    def chat(
        self,
        messages: str | Prompt | Sequence[Mapping[str, Any]],
        *,
        due: float | None = None,
        name: str | None = None,
        stream: bool | None = None,
        **parameters: Any,
    ) -> Reply:
        """Ask `/v1/chat/completions` (or what --api names: Responses, Messages), and wait for the reply's end.

        A text is sent as one user message. `due` (monotonic seconds) is when the user wanted to send, if that was
        before this call. `name` is the line in Locust's table and the row's `scenario`. `parameters` go into the
        body and win over the options (max_tokens, temperature, …). A reply that fails raises nothing: look at its
        `outcome`.
        """
        if isinstance(messages, Prompt):
            messages = messages.messages
        said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        kind = "turn" if any(message.get("role") == "assistant" for message in said) else "chat"
        path = openai_api.CHAT_PATH if self._options.api == "completion" else openai_api.PATHS[self._options.api]
        return self._ask(path, said, kind, due, name, stream, parameters)

    def complete(
        self,
        prompt: str | Prompt,
        *,
        due: float | None = None,
        name: str | None = None,
        stream: bool | None = None,
        **parameters: Any,
    ) -> Reply:
        """Ask `/v1/completions`; else as `chat`."""
        if isinstance(prompt, Prompt):
            if prompt.text is None:
                raise ValueError("a growing chat has no plain prompt: use chat()")
            prompt = prompt.text
        return self._ask(openai_api.COMPLETION_PATH, prompt, "completion", due, name, stream, parameters)

    def ask(self, prompt: Prompt, **how: Any) -> Reply:
        """Ask by the API that --api names."""
        return self.complete(prompt, **how) if self._options.api == "completion" else self.chat(prompt, **how)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(
        self,
        path: str,
        prompt: str | Sequence[Mapping[str, Any]],
        kind: str,
        due: float | None,
        name: str | None,
        stream: bool | None,
        parameters: Mapping[str, Any],
    ) -> Reply:
        while self._recorder.ending:
            gevent.sleep(3600)  # the run is over: wait to be taken away
        due = clock.monotonic() if due is None else due
        streamed = not self._options.no_stream if stream is None else stream
        request = self._door.request(path, prompt, streamed, parameters)
        conversation = Exchange(
            self._connection,
            request,
            self._door.limits,
            due=due,
            streamed=streamed,
            secret=self._door.key,
            free=self._free,
            choices=int(parameters.get("n") or 1),
        )
        number = self._recorder.start(conversation)
        name = name or self._scenario
        asked = Asked(self.user, name, kind)
        try:
            conversation.run()
        finally:
            reply = conversation.finish()
            self._recorder.stamped = (
                self._connection.stamped if self._recorder.stamped is None else self._recorder.stamped
            )
            row = self._recorder.end(conversation, reply, asked, number)
            self._free = row.end
            self._tell(reply, row, name, path)
        if is_failure(reply.outcome) and row.end - row.due < _FAILED_FAST:
            gevent.sleep(_BREATH)
        return reply

    def _tell(self, reply: Reply, row: ReplyRow, name: str, path: str) -> None:
        """Locust's own event, once a reply, and the package's. A reply that we ended is no request to Locust."""
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
            self._own_rows(name, row)
        if row.first is not None and row.sent is not None:
            events.first_token.fire(reply=reply, row=row, seconds=row.first - row.sent)
        spread = [gap for choice in reply.events for gap in gaps(choice.at)]
        if spread:
            events.token_gap.fire(reply=reply, row=row, seconds=spread)
        events.reply.fire(reply=reply, row=row)

    def _own_rows(self, name: str, row: ReplyRow) -> None:
        """TTFT and longest gap as lines of Locust's table that stay out of *Aggregated*."""
        stats = self._environment.stats
        ttft = row.first - row.sent if row.first is not None and row.sent is not None else None
        for kind, seconds in ((TTFT, ttft), (GAP, row.longest_gap)):
            if seconds is not None and seconds >= LOCUST_FLOOR:
                stats.get(name, kind).log(1000 * seconds, 0)


class ReplyFailedError(Exception):
    """What Locust lists under failures: the outcome, and what was said of it."""

    def __init__(self, outcome: str, message: str | None) -> None:
        super().__init__(f"{outcome}: {message}" if message else outcome)
