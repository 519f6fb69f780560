"""Read JSON as leniently as Python's own parser does, but fast where it is strict JSON."""

import json
import re
from typing import Any

import orjson

from probe_ext.client.api.api_event import BadEventError

_REPEATED_FIELD_NAME = re.compile(rb"(?:\s*data:)+\s*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_LENIENT_BYTES = 2**20
"""of JSON that only a lenient, slower parser may read; errors that repeat a long prompt are within this"""
_MAX_JOINED_OBJECTS = 100
_MAX_MESSAGE_BYTES = 64 * 2**10
"""of what a message is made of; it shows a small part of that, so that a key cut in two at this end is never shown"""


def load_json(data: bytes) -> Any:
    """Parse JSON; also NaN and infinities, lone surrogates, control characters and invalid UTF-8 inside strings.

    BadEventError if it is not JSON in this sense either.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _load_leniently(data)


def load_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object. Of an array, as some gateways send around an error, return the first object.

    BadEventError if there is none.
    """
    content = load_json(data)
    if isinstance(content, list) and content and isinstance(content[0], dict) and "error" in content[0]:
        content = content[0]
    if not isinstance(content, dict):
        raise BadEventError(f"not a JSON object: {decoded(data)}")
    return content


def leading_object(data: bytes) -> dict[str, Any] | None:
    """Return the JSON object at the beginning of some text, None without one."""
    try:
        text = data[:_MAX_LENIENT_BYTES].decode("utf-8", "replace").strip("\ufeff \t\r\n")
        content, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return _without_surrogates(content) if isinstance(content, dict) else None


def joined_objects(data: bytes) -> list[bytes]:
    """Return the JSON objects that follow one another without a separator; none if anything else stands there.

    Nor if they are more than a hundred: each may cost as much as all of the text.
    """
    if len(data) > _MAX_LENIENT_BYTES:
        return []
    text, objects = data.decode("utf-8", "replace").strip(), list[bytes]()
    while text:
        try:
            _, end = json.JSONDecoder(strict=False).raw_decode(text)
        except (ValueError, RecursionError):
            return []
        if len(objects) == _MAX_JOINED_OBJECTS or not text.startswith("{"):
            return []
        objects.append(text[:end].encode("utf-8", "replace"))
        text = text[end:].lstrip()
    return objects


def dumped(value: object) -> str:
    """Return a parsed value as JSON again; `…` if it is nested too deeply for that."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # also for integers of more than 64 bits, which a lenient parser reads
        try:
            return json.dumps(value)
        except (ValueError, RecursionError):
            return "…"


def decoded(data: bytes) -> str:
    """Decode text for a message: the beginning, and far more of it than any message shows (see safe_text)."""
    return data[:_MAX_MESSAGE_BYTES].decode("utf-8", "replace")


def _load_leniently(data: bytes) -> Any:
    if len(data) > _MAX_LENIENT_BYTES:
        raise BadEventError(f"not JSON: {decoded(data)}")
    plain = _REPEATED_FIELD_NAME.sub(b"", data, count=1) if data.lstrip()[:5] == b"data:" else data
    text = plain.decode("utf-8", "replace")
    try:
        return _without_surrogates(json.loads(text, strict=False))
    except (ValueError, RecursionError) as error:
        raise BadEventError(f"not JSON: {decoded(data)}") from error


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates, which no file can hold."""
    if isinstance(value, str):
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    return value
