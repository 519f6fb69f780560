"""Events and bodies of Anthropic's Messages API."""

from typing import Any

from probe_ext.client.api.api_event import ChoicePart, Event, Usage
from probe_ext.client.api.finish_reasons import finish_reason
from probe_ext.client.api.json_text import dumped
from probe_ext.client.api.usage_counts import parse_usage

EVENT_KINDS = frozenset(
    {
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"),
        *("message_stop", "ping"),
    }
)


def parse_stream_event(kind: str, content: dict[str, Any]) -> Event:
    """Parse an event of one of EVENT_KINDS."""
    if kind == "content_block_delta":
        return Event([_block(content.get("delta"))], None, None)
    if kind == "content_block_start":
        return Event([_block(content.get("content_block"))], None, None)
    if kind == "message_start":
        message = content.get("message")
        usage = _usage(message.get("usage")) if isinstance(message, dict) else None
        return Event([], usage and usage._replace(completion=None), None)  # its count is a placeholder
    if kind == "message_delta":
        delta = content.get("delta")
        reason = finish_reason(delta.get("stop_reason")) if isinstance(delta, dict) else None
        return Event([ChoicePart(0, finish=reason)] if reason else [], _usage(content.get("usage")), None)
    return Event([], None, None, last=kind == "message_stop")


def parse_message(message: dict[str, Any]) -> Event:
    """Parse the body of a reply that is not streamed."""
    blocks = message.get("content")
    parts = [_block(block) for block in blocks] if isinstance(blocks, list) else []
    text, reasoning = "".join(part.text for part in parts), "".join(part.reasoning for part in parts)
    part = ChoicePart(0, text, reasoning, finish_reason(message.get("stop_reason")))
    return Event([part], _usage(message.get("usage")), None, last=True)


def _block(block: object) -> ChoicePart:
    """Return the text of a content block or of a delta to one: text, thinking, or a tool call."""
    if not isinstance(block, dict):
        return ChoicePart(0)
    values = [block.get(name) for name in ("text", "partial_json", "name")]
    thinking, tool_input = block.get("thinking"), block.get("input")
    visible = "".join(value for value in values if isinstance(value, str))
    if isinstance(tool_input, dict) and tool_input:
        visible += dumped(tool_input)
    return ChoicePart(0, visible, thinking if isinstance(thinking, str) else "")


def _usage(value: object) -> Usage | None:
    """Return the counts; `input_tokens` leave out what the cache held."""
    usage = parse_usage(value)
    if usage is None or usage.prompt is None or not isinstance(value, dict):
        return usage
    names = ("cache_read_input_tokens", "cache_creation_input_tokens")
    cached = [number for name in names if isinstance(number := value.get(name), int) and number > 0]
    return usage._replace(prompt=usage.prompt + sum(cached))
