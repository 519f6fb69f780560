"""Parse JSON request bodies and build JSON responses."""

import json
from typing import Any

from aiohttp import web

from probe_ext.sim.protocol.request_body import ApiError
from probe_ext.sim.protocol.response_bytes import compact_json


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises :class:`ApiError` with vLLM's wording."""
    try:
        body = json.loads(raw)
    except ValueError as error:
        position = getattr(error, "pos", 0)
        cause = getattr(error, "msg", "Expecting value")
        detail = (
            f"{{'type': 'json_invalid', 'loc': 'body.{position}', 'msg': 'JSON decode error', "
            f"'input': '<dict of 0 items>', 'ctx': {{'error': '{cause}'}}}}"
        )
        raise ApiError(f"1 validation error:\n  {detail}", f"body.{position}", 400, "Bad Request") from error
    if not isinstance(body, dict):
        detail = "{'type': 'model_attributes_type', 'loc': 'body', 'msg': 'Input should be a valid dictionary'}"
        raise ApiError(f"1 validation error:\n  {detail}", "body", 400, "Bad Request")
    return body


def json_response(value: object, status: int = 200) -> web.Response:
    """Build a JSON response."""
    return web.Response(body=compact_json(value), status=status, content_type="application/json")
