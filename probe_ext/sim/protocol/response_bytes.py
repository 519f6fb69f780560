"""The bytes of a reply: server-sent events and whole bodies in vLLM 0.32's shape (as recorded from a real server).

What does not change during a reply is serialised once; an event is then a join of byte strings.
"""

import json
from dataclasses import dataclass
from typing import Any

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

    prompt: int
    reply: int
    cached: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """vLLM's ``usage``; details only where the server gives them."""
        usage: dict[str, Any] = {
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt + self.reply,
            "completion_tokens": self.reply,
        }
        if self.cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": self.cached}
        return usage


def compact(value: object) -> bytes:
    """JSON without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def framed(payload: bytes) -> bytes:
    """One chunk of a chunked HTTP/1.1 body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def error_event(body: object) -> bytes:
    """An error inside the stream, and the end that vLLM sends after it."""
    return b"data: " + compact(body) + b"\n\n" + DONE


class EventWriter:
    """Events of one choice of one streamed reply."""

    def __init__(self, reply_id: str, created: int, model: str, chat: bool, choice: int) -> None:
        self._chat = chat
        self._choice = choice
        kind = "chat.completion.chunk" if chat else "text_completion"
        head = compact({"id": reply_id, "object": kind, "created": created, "model": model})[:-1]
        self._head = b"data: " + head + b',"choices":['
        opening = b'{"index":%d,"delta":{"content":"' if chat else b'{"index":%d,"text":"'
        self._before = self._head + opening % choice
        closing = b'"},"logprobs":null,' if chat else b'","logprobs":null,'
        ids = b'"token_ids":null}]' if chat else b'"prompt_token_ids":null,"token_ids":null}]'
        stop = b"" if chat else b'"stop_reason":null,'
        self._after = closing + b'"finish_reason":null,' + stop + ids
        self._at_end = closing + b'"finish_reason":"%b","stop_reason":null,' + ids

    def role(self, usage: Usage | None = None) -> bytes:
        """The role-only first chunk of a chat; nothing for a completion."""
        if not self._chat:
            return b""
        delta = b'{"index":%d,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]'
        tail = b',"prompt_token_ids":null,"prompt_text":null}\n\n'
        return self._head + delta % self._choice + self._usage(usage) + tail

    def tokens(self, text: str, finish: str | None, usage: Usage | None, last: bool) -> bytes:
        """An event with text; ``last`` is the reply's very last and then carries the fingerprint."""
        after = self._after if finish is None else self._at_end % finish.encode()
        mark = b',"system_fingerprint":"%b"' % FINGERPRINT.encode() if last else b""
        return self._before + text.encode() + after + self._usage(usage) + mark + b"}\n\n"

    def usage(self, usage: Usage) -> bytes:
        """The usage-only event at the end."""
        mark = b',"system_fingerprint":"%b"' % FINGERPRINT.encode()
        return self._head + b"]" + self._usage(usage) + mark + b"}\n\n"

    @staticmethod
    def _usage(usage: Usage | None) -> bytes:
        return b"" if usage is None else b',"usage":' + compact(usage.as_dict())


def whole_body(
    reply_id: str, created: int, model: str, chat: bool, choices: list[tuple[str, str]], usage: Usage
) -> bytes:
    """The answer to a request without ``stream``: (text, finish reason) of each choice."""
    details: dict[str, Any] = {"prompt_tokens_details": None, "completion_tokens_details": None}
    return compact(
        {
            "id": reply_id,
            "object": "chat.completion" if chat else "text_completion",
            "created": created,
            "model": model,
            "choices": [_choice(chat, index, text, finish) for index, (text, finish) in enumerate(choices)],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": {**details, **usage.as_dict()},
        }
    )


def _choice(chat: bool, index: int, text: str, finish: str) -> dict[str, Any]:
    said: dict[str, Any] = {"text": text}
    if chat:
        said = {"message": {"role": "assistant", "content": text, "refusal": None, "reasoning": None}}
    return {"index": index, **said, "logprobs": None, "finish_reason": finish, "stop_reason": None}
