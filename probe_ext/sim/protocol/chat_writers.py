"""Chat replies that are not plain text: reasoning in a field of its own, tool calls as a parser streams them.

In the format of vLLM 0.32 with ``--reasoning-parser`` and ``--tool-call-parser``.
"""

from typing import Any

from probe_ext.sim.protocol.response_bytes import EventWriter, Usage


class ReasoningWriter(EventWriter):
    """Sends the first characters of a reply as reasoning."""

    def __init__(self, reply_id: str, created: int, model: str, choice: int, *, reasoning_length: int) -> None:
        super().__init__(reply_id, created, model, chat=True, choice=choice)
        self._reasoning_length = reasoning_length
        self._left = reasoning_length

    def token_event(self, text: str, finish_reason: str | None, usage: Usage | None, last: bool) -> bytes:
        """Encode an event; where reasoning ends in mid-event, it has both fields."""
        thought, answer = text[: self._left], text[self._left :]
        self._left -= len(thought)
        delta = {"reasoning": thought} if thought else {}
        if answer or not thought:
            delta["content"] = answer
        return self.delta_event(delta, finish_reason, usage, last)

    def message(self, text: str) -> dict[str, Any]:
        """Return the message of a whole response."""
        length = self._reasoning_length
        return {**super().message(text[length:] or ""), "reasoning": text[:length]}


class ToolCallWriter(EventWriter):
    """Sends a reply as the arguments of one call; `held`: as a parser does that waits for their end."""

    def __init__(self, reply_id: str, created: int, model: str, choice: int, *, tool: str, held: bool) -> None:
        super().__init__(reply_id, created, model, chat=True, choice=choice)
        self._id = f"chatcmpl-tool-{reply_id[-16:]}"
        self._tool = tool
        self._held = held
        self._pending = ""
        self._named = False

    def token_event(self, text: str, finish_reason: str | None, usage: Usage | None, last: bool) -> bytes:
        """Encode an event; empty while arguments are held back."""
        self._pending += text
        if self._held and self._named and finish_reason is None:
            return b""
        arguments = "" if self._held and finish_reason is None else self._pending
        self._pending = self._pending[len(arguments) :]
        call: dict[str, Any] = {"index": 0, "function": {"arguments": arguments}}
        if not self._named:
            call = {"id": self._id, "type": "function", **call}
            call["function"] = {"name": self._tool, **call["function"]}
            self._named = True
        reason = "tool_calls" if finish_reason == "stop" else finish_reason
        return self.delta_event({"content": None, "tool_calls": [call]}, reason, usage, last)

    def message(self, text: str) -> dict[str, Any]:
        """Return the message of a whole response."""
        call = {"id": self._id, "type": "function", "function": {"name": self._tool, "arguments": text}}
        return {**super().message(""), "content": None, "tool_calls": [call]}
