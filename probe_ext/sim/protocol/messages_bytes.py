"""Encode replies in the format of vLLM 0.32's Messages API (recorded from a real server)."""

from typing import Any

from probe_ext.sim.protocol.response_bytes import DONE, Usage, compact_json

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


class MessagesWriter:
    """Encodes the events of a streamed reply, which is a single block of text."""

    def __init__(self, reply_id: str, model: str, prompt_tokens: int) -> None:
        self._reply_id, self._model, self._prompt_tokens = reply_id, model, prompt_tokens

    def role_event(self, _: Usage | None = None) -> bytes:
        """Encode the events before the first text."""
        usage = {"input_tokens": self._prompt_tokens, "output_tokens": 0}
        message = {**self._message([], None), "stop_sequence": None, "usage": usage}
        block = {"content_block": {"type": "text", "text": ""}, "index": 0}
        return _event("message_start", {"message": message}) + _event("content_block_start", block)

    def token_event(self, text: str, _finish_reason: str | None, _usage: Usage | None, _last: bool) -> bytes:
        """Encode an event with text; empty without text."""
        start = b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"'
        return start + text.encode() + b'"},"index":0}\n\n' if text else b""

    def ending(self, usage: Usage, finish_reason: str, _asked: bool) -> bytes:
        """Encode the events after the last text."""
        delta = {"stop_reason": _STOP_REASONS[finish_reason], "stop_sequence": None}
        return (
            _event("content_block_stop", {"index": 0})
            + _event("message_delta", {"delta": delta, "usage": _usage(usage)})
            + _event("message_stop", {})
        )

    def error(self, body: dict[str, Any]) -> bytes:
        """Encode a failure in mid-stream."""
        error = {"type": "internal_error", "message": body["error"]["message"]}
        return _event("error", {"error": error}) + DONE

    def abandoned(self) -> bytes:
        """Return what ends a stream without an ending: nothing."""
        return b""

    def document(self, text: str, finish_reason: str, usage: Usage) -> dict[str, Any]:
        """Return the whole message, as a reply that is not streamed."""
        message = self._message([{"type": "text", "text": text}], _STOP_REASONS[finish_reason])
        return {**message, "usage": _usage(usage)}

    def _message(self, content: list[dict[str, Any]], stop_reason: str | None) -> dict[str, Any]:
        head = {"id": self._reply_id, "type": "message", "role": "assistant", "content": content}
        return {**head, "model": self._model, "stop_reason": stop_reason}


def error_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return a refusal in the format of this API."""
    error = body["error"]
    if not isinstance(error, dict):
        return body
    return {"type": "error", "error": {"type": error["type"], "message": error["message"]}}


def _event(kind: str, content: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), compact_json({"type": kind, **content}))


def _usage(usage: Usage) -> dict[str, Any]:
    """Return the counts; the cache's only if they are known, and ``input_tokens`` without them."""
    cached = usage.cached_tokens
    counts = {"input_tokens": usage.prompt_tokens - (cached or 0), "output_tokens": usage.completion_tokens}
    if cached is None:
        return counts
    return {**counts, "cache_creation_input_tokens": 0, "cache_read_input_tokens": cached}
