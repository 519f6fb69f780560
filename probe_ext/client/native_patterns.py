"""Which events the native path matches: token events of known patterns, and events that differ only in ids and counts.

The latter carry no text: the role, the finish reason, the usage at the end. One that was parsed as JSON is known from
then on, so that of most replies no event is parsed.
"""

import re
import struct
from collections.abc import Sequence

from probe_ext.client.api.api_event import Event, Usage
from probe_ext.client.event_pattern import EventPattern, constant_shape
from probe_ext.client.wire.native import native_extension

_MAX_CONSTANTS = 32
"""per process; beyond that, a server's events are too different from one another"""
_MAX_BYTES = 4096
_END = re.compile(rb"[^\n]\n\n\Z")
_EARLIER_END = re.compile(rb"\r|\n\n(?!\Z)")
_LENGTH = struct.Struct("@H")
_Shape = tuple[tuple[bytes, ...], str]
"""literals and slots"""

_numbers: dict[_Shape, int] = {}
_constants: set[bytes] = set()
"""the events without text that were tried"""
_known: dict[int, EventPattern | Event] = {}


def known_events(number: int) -> EventPattern | Event:
    """Return what the native path knows by this number."""
    return _known[number]


def register(pattern: EventPattern) -> None:
    """Have the native path match the token events of this pattern."""
    _register((pattern.literals, pattern.slots), pattern)


def learn_constant(raw: bytes, event: Event) -> None:
    """Have the native path match events like this one, whose only bytes these are, if it carries no text."""
    tried = raw in _constants or len(_constants) >= _MAX_CONSTANTS
    if tried or len(raw) > _MAX_BYTES or not _is_constant(event):
        return
    _constants.add(raw)
    if native_extension.reader_module() is not None and (shape := constant_shape(raw, event)):
        _register(shape, event)


def with_counts(event: Event, prompt: int | None, completion: int | None) -> Event:
    """Return the event with other counts, where they are known."""
    usage = event.usage
    if usage is None:
        return event
    prompt = usage.prompt if prompt is None else prompt
    completion = usage.completion if completion is None else completion
    usage = Usage(prompt, completion, usage.cached, usage.reasoning)
    return Event(event.parts, usage, event.error, event.last, event.server_times)


def _is_constant(event: Event) -> bool:
    if event.error is not None or event.last or event.server_times is not None or len(event.parts) > 1:
        return False
    return not any(p.text or p.reasoning or p.whole or p.refused or p.token_ids is not None for p in event.parts)


def encoded(literals: Sequence[bytes], slots: str) -> bytes:
    """Return a pattern as patterns.h reads it; `slots` has one letter less than there are literals."""
    ends = (*slots.encode(), 0)
    parts = [_LENGTH.pack(len(each)) + each + bytes([end]) for each, end in zip(literals, ends, strict=True)]
    return b"".join(parts)


def _register(shape: _Shape, meaning: EventPattern | Event) -> None:
    """Register a shape, if the end of such an event shows where it ends."""
    native = native_extension.reader_module()
    if native is None or not _END.search(shape[0][-1]) or any(map(_EARLIER_END.search, shape[0])):
        return
    number = _numbers.get(shape)
    if number is None:
        number = _numbers[shape] = native.add_pattern(encoded(*shape))
    if number >= 0:
        _known[number] = meaning
