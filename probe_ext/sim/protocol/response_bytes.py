"""Encode responses: server-sent events and full bodies in vLLM 0.32's format (recorded from a real server).

The parts that stay the same throughout a reply are serialised once, so that an event only joins byte strings.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

DONE = b"data: [DONE]\n\n"
FINGERPRINT = "vllm-0.32.0-probe-sim"
ENGINE_DIED = {
    "error": {
        "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
        "type": "InternalServerError",
        "param": None,
        "code": 500,
    }
}


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a request."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    times: Mapping[str, float] | None = None
    """the request's times in milliseconds, sent beside the usage"""

    def as_dict(self) -> dict[str, Any]:
        """Return vLLM's ``usage`` object, with details only if ``cached_tokens`` is set."""
        usage: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
        }
        if self.cached_tokens is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": self.cached_tokens}
        return usage


def compact_json(value: object) -> bytes:
    """Serialise to JSON without whitespace."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def as_chunk(payload: bytes) -> bytes:
    """Frame bytes as one chunk of a chunked HTTP/1.1 body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


class ReplyWriter(Protocol):
    """Encodes the events of one choice of a streamed reply, in the format of one API."""

    def role_event(self, usage: Usage | None = None) -> bytes:
        """Encode what comes before the first text."""

    def token_event(self, text: str, finish_reason: str | None, usage: Usage | None, last: bool, /) -> bytes:
        """Encode an event with text."""

    def ending(self, usage: Usage, finish_reason: str, asked: bool, /) -> bytes:
        """Encode what comes after the last text of the reply."""

    def error(self, body: dict[str, Any]) -> bytes:
        """Encode a failure in mid-stream."""

    def abandoned(self) -> bytes:
        """Return what ends a stream without an ending."""


class EventWriter:
    """Encodes the events of one choice of a streamed reply."""

    def __init__(self, reply_id: str, created: int, model: str, chat: bool, choice: int) -> None:
        self._chat = chat
        self._choice = choice
        kind = "chat.completion.chunk" if chat else "text_completion"
        head = compact_json({"id": reply_id, "object": kind, "created": created, "model": model})[:-1]
        self._head = b"data: " + head + b',"choices":['
        self._index = b'{"index":%d,' % choice
        opening = b'{"index":%d,"delta":{"content":"' if chat else b'{"index":%d,"text":"'
        self._before = self._head + opening % choice
        self._text_end = b'"}' if chat else b'"'
        closing = b',"logprobs":null,'
        ids = b'"token_ids":null}]' if chat else b'"prompt_token_ids":null,"token_ids":null}]'
        stop = b"" if chat else b'"stop_reason":null,'
        self._after = closing + b'"finish_reason":null,' + stop + ids
        self._after_last = closing + b'"finish_reason":"%b","stop_reason":null,' + ids

    def role_event(self, usage: Usage | None = None) -> bytes:
        """Encode a chat's first, role-only event; empty for a completion."""
        if not self._chat:
            return b""
        delta = b'{"index":%d,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]'
        tail = b',"prompt_token_ids":null,"prompt_text":null}\n\n'
        return self._head + delta % self._choice + self._usage(usage) + tail

    def token_event(self, text: str, finish_reason: str | None, usage: Usage | None, last: bool) -> bytes:
        """Encode an event with text; the reply's ``last`` event carries the fingerprint."""
        encoded = compact_json(text)[1:-1] if '"' in text else text.encode()  # words need no escapes
        return self._before + encoded + self._text_end + self._tail(finish_reason, usage, last)

    def delta_event(
        self, delta: Mapping[str, Any], finish_reason: str | None, usage: Usage | None, last: bool
    ) -> bytes:
        """Encode a chat's event with any fields."""
        return self._head + self._index + b'"delta":' + compact_json(delta) + self._tail(finish_reason, usage, last)

    def _tail(self, finish_reason: str | None, usage: Usage | None, last: bool) -> bytes:
        after = self._after if finish_reason is None else self._after_last % finish_reason.encode()
        fingerprint = b',"system_fingerprint":"%b"' % FINGERPRINT.encode() if last else b""
        return after + self._usage(usage) + fingerprint + b"}\n\n"

    def message(self, text: str) -> dict[str, Any]:
        """Return the message of a whole chat response."""
        return {"role": "assistant", "content": text, "refusal": None, "reasoning": None}

    def usage_event(self, usage: Usage) -> bytes:
        """Encode the final, usage-only event."""
        fingerprint = b',"system_fingerprint":"%b"' % FINGERPRINT.encode()
        times = b',"metrics":' + compact_json(usage.times) if usage.times else b""
        return self._head + b"]" + self._usage(usage) + fingerprint + times + b"}\n\n"

    def ending(self, usage: Usage, _finish_reason: str, asked: bool) -> bytes:
        """Encode what follows the last text; the usage only if it was ``asked`` for."""
        return self.usage_event(usage) + DONE if asked else DONE

    def error(self, body: dict[str, Any]) -> bytes:
        """Encode an error event and the ``[DONE]`` that vLLM sends after it."""
        return b"data: " + compact_json(body) + b"\n\n" + DONE

    def abandoned(self) -> bytes:
        """Return what ends a stream without a finish reason."""
        return DONE

    @staticmethod
    def _usage(usage: Usage | None) -> bytes:
        return b"" if usage is None else b',"usage":' + compact_json(usage.as_dict())


def full_body(
    reply_id: str, created: int, model: str, chat: bool, choices: Sequence[tuple[dict[str, Any], str]], usage: Usage
) -> bytes:
    """Encode the response to a non-streamed request; ``choices`` are (message or text, finish reason)."""
    details: dict[str, Any] = {"prompt_tokens_details": None, "completion_tokens_details": None}
    return compact_json(
        {
            "id": reply_id,
            "object": "chat.completion" if chat else "text_completion",
            "created": created,
            "model": model,
            "choices": [_choice(index, content, reason) for index, (content, reason) in enumerate(choices)],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": {**details, **usage.as_dict()},
            **({"metrics": usage.times} if usage.times else {}),
        }
    )


def _choice(index: int, content: dict[str, Any], finish_reason: str) -> dict[str, Any]:
    return {"index": index, **content, "logprobs": None, "finish_reason": finish_reason, "stop_reason": None}
