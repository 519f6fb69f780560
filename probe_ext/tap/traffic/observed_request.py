"""One request from its arrival to its line in the recording.

Prompts are hashed and replies parsed while the client waits for the server anyway, or when the request has ended; the
first pieces of a reply are therefore kept until its request has been looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from probe_ext.client.api.server_errors import BUSY_STATUSES
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.safe_text import safe_text
from probe_ext.recording.recorded_request import SERVED, RecordedRequest
from probe_ext.tap.traffic.keyed_hash import KeyedHash
from probe_ext.tap.traffic.prefix_memory import PrefixMemory, Seen
from probe_ext.tap.traffic.reply_meter import ReplyFacts, ReplyMeter
from probe_ext.tap.traffic.request_facts import RequestFacts, endpoint_of, owner_of, parse_body, request_facts
from probe_ext.tap.traffic.session_table import Place, SessionTable

MAX_ANALYSED_BYTES = 32 * 2**20
"""of a request's body; a larger one is passed on, and recorded without its prompt"""
_MAX_UNREAD_PIECES = 256
"""before the request itself is looked at"""
_PIECES_READ_TOGETHER = 16
"""which takes less time than one by one, and leaves the next one less to wait for"""
_MAX_METHOD = 20


class Memory:
    """What is remembered of earlier requests: all of it hashes, and bounded."""

    def __init__(self) -> None:
        self.hashes = KeyedHash()
        self.sessions = SessionTable(self.hashes)
        self.prefixes = PrefixMemory()


@dataclass(frozen=True, slots=True)
class KeptText:
    """Prompt and reply, for `--keep-text`."""

    number: int
    request: dict[str, Any] | None
    reply: str


class ObservedRequest:
    """A request in flight. Times are monotonic seconds."""

    def __init__(
        self,
        memory: Memory,
        *,
        number: int,
        at: float,
        in_flight: int,
        method: str,
        path: str,
        headers: Mapping[str, str],
    ) -> None:
        """`path`: without query; `headers`: of the request, found by names in lower case."""
        self._memory = memory
        self.number, self.at, self.in_flight = number, at, in_flight
        self._method = safe_text(method, length=_MAX_METHOD)
        self.endpoint = endpoint_of(method, path)
        self._request_headers = headers
        self.body: bytes | None = None
        self.request_bytes = self.response_bytes = 0
        self.client_wait = 0.0
        self.cached = False
        self._facts: RequestFacts | None = None
        self._place: Place | None = None
        self._seen: Seen | None = None
        self._status: int | None = None
        self._headers: dict[str, str] = {}
        self._meter: ReplyMeter | None = None
        self._waiting: list[tuple[float, bytes]] = []
        self.reply: ReplyFacts | None = None
        """what was measured of the reply, once it is recorded"""
        self._stored: tuple[float, ReplyFacts] | None = None
        self._ended = at
        self._broken: str | None = None

    @cached_property
    def owner(self) -> str:
        """Hash of the credentials. Made when it is needed, which is after the request was sent on."""
        return owner_of(self._request_headers, self._memory.hashes)

    def analyse(self) -> RequestFacts:
        """Look at the request's body, once."""
        if self._facts is None:
            body = parse_body(self.body) if self.endpoint != "other" else None
            self._facts = facts = request_facts(self.endpoint, body, self.owner, self._memory.hashes)
            if facts.prompt is not None:
                self._place = self._memory.sessions.place(facts.prompt, self.owner)
                self._seen = self._memory.prefixes.add(facts.blocks, facts.part_ends, facts.text, self._place.session)
        return self._facts

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Note the head of the response; names in lower case."""
        self._status, self._headers = status, headers

    def piece(self, at: float, data: bytes) -> None:
        """Note a piece of the response's body, after it was passed on."""
        self.response_bytes += len(data)
        if self.endpoint == "other":
            return
        self._waiting.append((at, data))
        if len(self._waiting) >= (_MAX_UNREAD_PIECES if self._facts is None else _PIECES_READ_TOGETHER):
            self._measure()

    def stored_reply(self, at: float, size: int, facts: ReplyFacts) -> None:
        """Note that a reply of `size` bytes, measured when it came from the server, was sent at once."""
        self.response_bytes += size
        self._stored = at, facts

    def _measure(self) -> None:
        if self._meter is None:
            facts = self.analyse()
            self._meter = ReplyMeter(self._status or 0, self._headers, streamed=facts.stream, choices=facts.choices)
        self._meter.feed(self._waiting)
        self._waiting.clear()

    def end(self, now: float, broken: str | None) -> None:
        """Note the end. `broken`: the outcome, if request or reply was broken off."""
        self._ended, self._broken = now, broken

    def finish(self, started: float) -> tuple[RecordedRequest, KeptText]:
        """Return the line of the recording, and the text that is not part of it. `started`: when it began."""
        facts, reply = self.analyse(), self._reply(self._broken)
        self.reply = reply
        prompt, place, seen = facts.prompt, self._place, self._seen
        if prompt is not None and place is not None and reply.outcome in _CONTINUED:
            self._memory.sessions.answered(prompt, self.owner, place, reply.texts, reply.response)
        line = RecordedRequest(
            number=self.number,
            at=self.at - started,
            duration=self._ended - self.at,
            endpoint=self.endpoint,
            method=self._method,
            session=place.session if place else None,
            turn=place.turn if place else None,
            model=facts.model,
            stream=facts.stream,
            parameters=dict(facts.parameters),
            messages=len(prompt.messages) if prompt else None,
            characters=len(facts.text) if prompt and not prompt.token_ids else None,
            system=facts.system_name,
            system_characters=len(facts.system) if facts.system_name else None,
            prompt=facts.prompt_name,
            identical=facts.identical,
            prefix_blocks=tuple(block.hex() for block in facts.blocks),
            prefix_seen=seen.prefix if seen else None,
            later_seen=seen.later if seen else None,
            tools=bool(prompt and (prompt.tools or prompt.calls_tools)),
            tool_results=prompt.tool_results if prompt else 0,
            media=prompt.media if prompt else False,
            input_tokens=reply.input_tokens,
            cached_tokens=reply.cached_tokens,
            output_tokens=reply.output_tokens,
            reasoning_tokens=reply.reasoning_tokens,
            events=reply.events,
            output_characters=reply.output_characters,
            ttft=None if reply.first is None else max(0.0, reply.first - self.at),
            gaps=reply.gaps,
            status=self._status,
            outcome=reply.outcome,
            finish=reply.finish,
            cached=self.cached,
            in_flight=self.in_flight,
            client_wait=self.client_wait,
            request_bytes=self.request_bytes,
            response_bytes=self.response_bytes,
        )
        return line, KeptText(self.number, parse_body(self.body), reply.texts[0] if reply.texts else "")

    def _reply(self, broken: str | None) -> ReplyFacts:
        if self._stored is not None:
            at, facts = self._stored
            first = None if facts.first is None else at
            return ReplyFacts(broken, self._status) if broken else replace(facts, first=first, gaps=None)
        if self._status is None or self.endpoint == "other":
            return ReplyFacts(broken or _plain_outcome(self._status or 0), self._status)
        self._measure()
        if self._meter is None:
            return ReplyFacts(broken or Outcome.BAD_DATA.value, self._status)
        return self._meter.finish(broken)


_CONTINUED = frozenset({Outcome.COMPLETE.value, Outcome.NO_ANSWER.value, Outcome.EMPTY.value, Outcome.TRUNCATED.value})
"""outcomes after which a client may go on with the answer"""


def _plain_outcome(status: int) -> str:
    if status < 400:
        return SERVED
    return (Outcome.REJECTED if status in BUSY_STATUSES else Outcome.HTTP_ERROR).value
