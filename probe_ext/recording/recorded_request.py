"""One recorded request, and the head of a recording. No value contains text of a prompt or of a reply.

Hashes are keyed with a random salt that is kept in memory only and never written: equal hashes of one recording mean
equal text, and nothing else can be learned from them.
"""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from probe_ext.measure.outcome import Outcome

SCHEMA = 1
"""of `tap.json`"""
BLOCK_CHARACTERS = 256
"""of prompt text that each hash in `prefix_blocks` stands for"""
ENDPOINTS = ("chat", "completion", "responses", "messages", "other")
BAD_REQUEST, CLIENT_STALLED, NOT_SUPPORTED, SERVED = "bad_request", "client_stalled", "not_supported", "served"
TAP_OUTCOMES = {
    BAD_REQUEST: "the client sent no valid HTTP request",
    CLIENT_STALLED: "the client stopped sending its request, or reading its reply",
    NOT_SUPPORTED: "the client asked for a WebSocket or a tunnel, which the tap refuses",
    SERVED: "a request that is not for text, such as /v1/models, was answered below status 400",
}
"""besides the outcomes of replies"""
OUTCOMES = frozenset({*(outcome.value for outcome in Outcome), *TAP_OUTCOMES})

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=200)]
Number = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Gaps:
    """Times between successive token events of one reply, in seconds."""

    count: Count
    mean: Seconds
    p50: Seconds
    p95: Seconds
    max: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A request that has ended: a line of `requests.jsonl`. None: not known, or not applicable."""

    number: Count
    """order of arrival; lines are in the order in which requests ended"""
    at: Seconds
    """arrival of the request's head, in seconds since `started_at`"""
    duration: Seconds
    """from `at` until the reply, or what there was of it, had ended"""
    endpoint: Name
    """one of ENDPOINTS"""
    method: Name = "POST"
    session: Name | None = None
    """conversation: requests with the same id share their history"""
    turn: Count | None = None
    """number of this request in its session, from 0"""
    model: Name | None = None
    stream: bool = False
    """whether a stream was asked for"""
    parameters: dict[Annotated[str, Field(max_length=40)], bool | int | Number] = field(default_factory=dict)
    """sampling parameters that are numbers or flags, as sent: `max_tokens`, `temperature`, `seed`, …"""
    messages: Count | None = None
    """messages of the prompt, the system prompt included"""
    characters: Count | None = None
    """of the prompt's text, with its roles and tool definitions"""
    system: Name | None = None
    """hash of system prompt and tool definitions"""
    system_characters: Count | None = None
    prompt: Name | None = None
    """hash of the whole prompt"""
    identical: Name | None = None
    """hash of all that a reply depends on: prompt, model, parameters, whether it is streamed, and the key it was sent
    with"""
    prefix_blocks: tuple[Name, ...] = ()
    """hashes of the prompt's whole blocks of `block_characters` characters. Each includes all blocks before it, so two
    prompts share as many leading characters as they share leading hashes"""
    prefix_seen: Count | None = None
    """characters at the start of this prompt with which an earlier one began, in whole blocks or messages"""
    later_seen: Count | None = None
    """characters further on, behind the first that is new, that prompts of other sessions contained as well"""
    tools: bool = False
    """whether tools were offered, or messages contain tool calls or results"""
    tool_results: Count = 0
    """results of tools among the messages since the last reply: above 0, a tool and no person has asked"""
    media: bool = False
    """whether the prompt contains images, audio or files, whose content `characters` leaves out"""
    input_tokens: Count | None = None
    """prompt tokens, as the server counted them"""
    cached_tokens: Count | None = None
    """of these, found in the server's prefix cache"""
    output_tokens: Count | None = None
    """tokens of the reply, as the server counted them; None if it did not"""
    reasoning_tokens: Count | None = None
    events: Count | None = None
    """stream events with text of the model; several tokens may share one"""
    output_characters: Count | None = None
    ttft: Seconds | None = None
    """from `at` to the first token event, of a stream"""
    gaps: Gaps | None = None
    status: Count | None = None
    """HTTP status of the server's answer; None if there was none"""
    outcome: Name
    """one of OUTCOMES"""
    finish: Name | None = None
    """finish reason"""
    cached: bool = False
    """whether the tap answered it from its own response cache"""
    in_flight: Count | None = None
    """requests in flight when this one had arrived, itself included"""
    client_wait: Seconds = 0.0
    """the part of `duration` in which the client was not ready to send its request or take its reply"""
    request_bytes: Count = 0
    response_bytes: Count = 0

    @property
    def end(self) -> float:
        """When the reply had ended, in seconds since `started_at`."""
        return self.at + self.duration


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingHead:
    """The content of `tap.json`."""

    schema: int
    upstream: str
    """scheme, host and port of the server, without path, key or query"""
    started_at: str
    """UTC, as `2026-01-31T12:00:00.000Z`"""
    block_characters: Annotated[int, Field(ge=1)] = BLOCK_CHARACTERS
    probe_ext: str = ""
    """version of this package"""
    max_model_len: Annotated[int, Field(ge=1)] | None = None
    """the server's limit of prompt and reply together, in tokens"""
    cache: bool = False
    """whether the tap answered identical requests itself"""
    keeps_text: bool = False
    """whether `text.jsonl` has prompts and replies"""
    ended_at: str | None = None
    """None while the recording goes on, and after a crash"""
    requests: Count | None = None
    """lines written until the end"""
    lost: Count = 0
    """lines that could not be written"""
