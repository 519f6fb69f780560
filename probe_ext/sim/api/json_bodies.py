"""JSON in and out."""

import json
from typing import Any

from aiohttp import web

from probe_ext.sim.api.request_body import AskError
from probe_ext.sim.api.response_bytes import compact


def read_object(raw: bytes) -> dict[str, Any]:
    """A JSON object. Raises :class:`AskError` worded as vLLM does."""
    try:
        body = json.loads(raw)
    except ValueError as error:
        at = getattr(error, "pos", 0)
        cause = getattr(error, "msg", "Expecting value")
        why = (
            f"{{'type': 'json_invalid', 'loc': 'body.{at}', 'msg': 'JSON decode error', 'input': '<dict of 0 items>', "
            f"'ctx': {{'error': '{cause}'}}}}"
        )
        raise AskError(f"1 validation error:\n  {why}", f"body.{at}", 400, "Bad Request") from error
    if not isinstance(body, dict):
        why = "{'type': 'model_attributes_type', 'loc': 'body', 'msg': 'Input should be a valid dictionary'}"
        raise AskError(f"1 validation error:\n  {why}", "body", 400, "Bad Request")
    return body


def json_answer(value: object, status: int = 200) -> web.Response:
    """A JSON response."""
    return web.Response(body=compact(value), status=status, content_type="application/json")
