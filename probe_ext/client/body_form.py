"""What a body is, by its first bytes: servers and proxies send any of these under any content type."""

import re
from collections.abc import Sequence
from enum import Enum

from probe_ext.client.api.api_event import BadEventError, Event, ServerError
from probe_ext.client.api.json_text import dumped, leading_object, load_json
from probe_ext.client.api.openai_api import parse_event
from probe_ext.client.api.server_errors import error_in_text, page_title, parse_error, without_tags
from probe_ext.client.wire.sse import SseParser


class BodyForm(Enum):
    """Forms of a body."""

    EVENTS = "events"
    DOCUMENT = "JSON document"
    PAGE = "page"
    TEXT = "text"


_EVENT_FIELD = re.compile(rb"(?:data|event|id|retry|error)?:")
_EVENT_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b"error:")
_INSIGNIFICANT = b"\xef\xbb\xbf \t\r\n"
_MAX_INSIGNIFICANT_BYTES = 64 * 2**10
_MAX_ERROR_BYTES = 2**20
_MAX_DOCUMENTS = 1000
"""lines of a body that is one JSON document per line"""


def body_form(beginning: bytes) -> BodyForm | None:
    """Return the form of a body that begins like this; None if more bytes are needed to tell."""
    if len(beginning) > _MAX_INSIGNIFICANT_BYTES:
        beginning = beginning[:_MAX_INSIGNIFICANT_BYTES] + b"."  # whatever this is, the question is not asked again
    text = beginning.lstrip(_INSIGNIFICANT)
    if text[:1] in (b"{", b"["):
        return BodyForm.DOCUMENT
    if text[:1] == b"<":
        return BodyForm.PAGE
    if _EVENT_FIELD.match(text):
        return BodyForm.EVENTS
    return None if any(field.startswith(text) for field in _EVENT_FIELDS) else BodyForm.TEXT


def parse_document(body: bytes) -> tuple[Sequence[Event], str | None]:
    """Parse a JSON body. Return its events, of which there are several if each line is one, and what is wrong with it.

    A JSON error object counts whatever follows it.
    """
    try:
        return [parse_event(body)], None
    except BadEventError as problem:
        if chunks := _listed_objects(body):
            return [parse_event(chunk) for chunk in chunks], None
        try:
            lines = body.split(b"\n", _MAX_DOCUMENTS)
            if len(lines) > _MAX_DOCUMENTS:
                raise
            return [parse_event(line) for line in lines if line.strip()], None
        except BadEventError:
            error = parse_error(leading_object(body))
            return ([Event([], None, error)], None) if error else ([], str(problem))


def _listed_objects(body: bytes) -> list[bytes]:
    """Return the objects of a body that is a JSON array of them, as some gateways end a stream; none if it is not."""
    if body.lstrip(_INSIGNIFICANT)[:1] != b"[":
        return []
    try:
        items = load_json(body)
    except BadEventError:
        return []
    if not isinstance(items, list) or len(items) > _MAX_DOCUMENTS or not all(isinstance(i, dict) for i in items):
        return []
    return [dumped(item).encode() for item in items]


def error_in_body(body: bytes, *, certain: bool = False) -> ServerError | None:
    """Return the error that a body states, as JSON, as an event or as text; `certain`: it is known to be one."""
    body = body[:_MAX_ERROR_BYTES]
    form = body_form(body)
    if form is BodyForm.EVENTS:
        parser, body = SseParser(), body[:_MAX_INSIGNIFICANT_BYTES]  # few enough for any number of lines
        data = (parser.feed(body) + parser.flush() or [b""])[0]
        return error_in_body(data, certain=certain) if body_form(data) is not BodyForm.EVENTS else None
    if form is BodyForm.DOCUMENT:
        try:
            content = load_json(body)
        except BadEventError:
            content = leading_object(body)
        return parse_error(content[0] if isinstance(content, list) and content else content)
    if form is BodyForm.PAGE:
        return None if page_title(body) else error_in_text(without_tags(body), certain=certain)
    return error_in_text(body, certain=certain)
