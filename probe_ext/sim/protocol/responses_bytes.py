"""Encode replies in the format of vLLM 0.32's Responses API (recorded from a real server)."""

from typing import Any

from probe_ext.sim.protocol.response_bytes import Usage, compact_json

_STATUSES = {"stop": "completed", "length": "incomplete"}


class ResponsesWriter:
    """Encodes the events of a streamed reply, which is a single message."""

    def __init__(self, reply_id: str, created: int, model: str, max_tokens: int) -> None:
        self._reply_id, self._created, self._model, self._max_tokens = reply_id, created, model, max_tokens
        self._item = f"msg_{reply_id.partition('_')[2]}"
        self._sequence = 0
        self._texts: list[str] = []
        self._delta = b'","item_id":"%b","logprobs":[],"output_index":0,"sequence_number":' % self._item.encode()

    def role_event(self, _: Usage | None = None) -> bytes:
        """Encode the events before the first text."""
        response = {"response": self._response("in_progress", [], None)}
        item = {"id": self._item, "content": [], "role": "assistant", "status": "in_progress", "type": "message"}
        return (
            self._event("created", response)
            + self._event("in_progress", response)
            + self._event("output_item.added", {"item": {**item, "phase": None}, "output_index": 0})
            + self._event("content_part.added", {**self._place(), "part": _part("", [])})
        )

    def token_event(self, text: str, _finish_reason: str | None, _usage: Usage | None, _last: bool) -> bytes:
        """Encode an event with text; empty without text."""
        if not text:
            return b""
        self._texts.append(text)
        number, self._sequence = self._sequence, self._sequence + 1
        start = b'event: response.output_text.delta\ndata: {"content_index":0,"delta":"'
        return b'%b%b%b%d,"type":"response.output_text.delta"}\n\n' % (start, text.encode(), self._delta, number)

    def ending(self, usage: Usage, finish_reason: str, _asked: bool) -> bytes:
        """Encode the events after the last text."""
        text = "".join(self._texts)
        return (
            self._event("output_text.done", {**self._place(), "logprobs": [], "text": text})
            + self._event("content_part.done", {**self._place(), "part": _part(text, None)})
            + self._event("output_item.done", {"item": _message(self._item, text), "output_index": 0})
            + self._event("completed", {"response": self.document(text, finish_reason, usage)})
        )

    def error(self, body: dict[str, Any]) -> bytes:
        """Encode a failure in mid-stream."""
        return self._event("failed", {"response": {**self._response("failed", [], None), "error": body["error"]}})

    def abandoned(self) -> bytes:
        """Return what ends a stream without an ending: nothing."""
        return b""

    def document(self, text: str, finish_reason: str, usage: Usage) -> dict[str, Any]:
        """Return the whole response, as a reply that is not streamed."""
        response = self._response(_STATUSES[finish_reason], [_message(self._item, text)], usage)
        if finish_reason == "length":
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        return response

    def _place(self) -> dict[str, Any]:
        return {"content_index": 0, "item_id": self._item, "output_index": 0}

    def _event(self, name: str, content: dict[str, Any]) -> bytes:
        kind = f"response.{name}"
        number, self._sequence = self._sequence, self._sequence + 1
        data = compact_json({**content, "sequence_number": number, "type": kind})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def _response(self, status: str, output: list[dict[str, Any]], usage: Usage | None) -> dict[str, Any]:
        return {
            "id": self._reply_id,
            "created_at": self._created,
            "incomplete_details": None,
            "instructions": None,
            "metadata": None,
            "model": self._model,
            "object": "response",
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "none",
            "tools": [],
            "background": False,
            "max_output_tokens": self._max_tokens,
            "previous_response_id": None,
            "reasoning": None,
            "service_tier": "auto",
            "status": status,
            "text": None,
            "truncation": "disabled",
            "usage": None if usage is None else _usage(usage),
            "user": None,
        }


def _part(text: str, logprobs: list[Any] | None) -> dict[str, Any]:
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": logprobs}


def _message(item: str, text: str) -> dict[str, Any]:
    state = {"role": "assistant", "status": "completed", "type": "message", "phase": None}
    return {"id": item, "content": [_part(text, None)], **state}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0, "tool_output_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
