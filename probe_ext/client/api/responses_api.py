"""Events and bodies of OpenAI's Responses API.

Text comes in `….delta` events. The `….done` events and the last one repeat it; they matter only where a server sends no
deltas, or holds a tool call back until it is whole.
"""

import re
from collections.abc import Iterable
from typing import Any

from probe_ext.client.api.api_event import ChoicePart, Event
from probe_ext.client.api.server_errors import parse_error
from probe_ext.client.api.usage_counts import parse_usage

_REASONING = re.compile(r"reasoning|thinking|thought")
_NO_TEXT = re.compile(r"(?:audio|image|video)\.delta|annotation|logprob")
"""of deltas: bytes in base64, and what is said about text"""
_LAST = frozenset(f"response.{name}" for name in ("completed", "incomplete", "failed", "cancelled", "done"))


def parse_stream_event(kind: str, content: dict[str, Any]) -> Event:
    """Parse an event whose `type` begins with `response.`."""
    if kind.endswith(".delta") and not _NO_TEXT.search(kind):
        text = _string(content.get("delta"))
        visible = not _REASONING.search(kind)
        return _event(ChoicePart(0, text if visible else "", "" if visible else text, refused="refusal" in kind))
    if kind == "response.output_item.added":
        item = content.get("item")
        return _event(ChoicePart(0, _string(item.get("name")) if isinstance(item, dict) else ""))
    if kind == "response.output_item.done":
        return _event(_outputs([content.get("item")]))
    if kind in _LAST and isinstance(content.get("response"), dict):
        return parse_response(content["response"])
    if kind == "response.error":
        return Event([], None, parse_error({"error": content.get("error") or content}))
    return Event([], None, None)


def parse_response(response: dict[str, Any]) -> Event:
    """Parse a whole response: the body of a reply that is not streamed, or what the last event of a stream holds."""
    status = response.get("status")
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    finish = reason if isinstance(reason, str) else status if isinstance(status, str) else None
    error = parse_error({"error": response.get("error")})
    part = _outputs(response.get("output"))._replace(finish=None if finish in _UNFINISHED else finish)
    return Event([part], parse_usage(response.get("usage")), error, last=True)


_UNFINISHED = {"in_progress", "queued"}


def _event(part: ChoicePart) -> Event:
    return Event([part], None, None)


def _outputs(items: object) -> ChoicePart:
    text, reasoning, refused = "", "", False
    for item in _objects(items):
        kind = str(item.get("type", ""))
        if kind == "reasoning":
            reasoning += "".join(_texts(item.get("content"))) or "".join(_texts(item.get("summary")))
        elif kind == "message":
            text += "".join(_texts(item.get("content")))
            refused = refused or any(part.get("type") == "refusal" for part in _objects(item.get("content")))
        elif kind.endswith("_call"):
            text += _string(item.get("name")) + _string(item.get("arguments")) + _string(item.get("input"))
    return ChoicePart(0, text, reasoning, refused=refused, whole=True)


def _texts(parts: object) -> Iterable[str]:
    return (_string(part.get("text")) + _string(part.get("refusal")) for part in _objects(parts))


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
