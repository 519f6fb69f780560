"""What a client gets when the tap has no answer of the server for it: a status and a JSON error, as servers send."""

from dataclasses import dataclass

import orjson
from aiohttp import web

from probe_ext.measure.outcome import Outcome
from probe_ext.recording.recorded_request import BAD_REQUEST, CLIENT_STALLED, NOT_SUPPORTED

HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer."""

    status: int
    outcome: str
    kind: str
    """`type` of the error"""
    message: str

    def body(self) -> bytes:
        """Return the JSON error."""
        return orjson.dumps(
            {"error": {"message": f"probe tap: {self.message}", "type": self.kind, "code": self.status}}
        )

    def response(self) -> web.Response:
        """Return the answer; it ends the connection."""
        response = web.Response(status=self.status, body=self.body(), headers=HEADERS)
        response.force_close()
        return response


def unreachable(why: str) -> Failure:
    """Say that no connection could be made."""
    return Failure(502, Outcome.CONNECT_FAILED.value, "upstream_unreachable", f"cannot reach the server: {why}")


def connect_timeout(limit: float) -> Failure:
    """Say that connecting took too long."""
    message = f"no connection to the server within {limit:g} s"
    return Failure(504, Outcome.CONNECT_TIMEOUT.value, "upstream_timeout", message)


def no_answer(limit: float) -> Failure:
    """Say that the server did not begin to answer."""
    message = f"the server did not answer within {limit:g} s"
    return Failure(504, Outcome.TIMEOUT_FIRST.value, "upstream_timeout", message)


def closed_unanswered(why: str) -> Failure:
    """Say that the server closed the connection before it answered."""
    message = f"the server closed the connection without an answer: {why}"
    return Failure(502, Outcome.CUT.value, "upstream_closed", message)


def not_http(why: str) -> Failure:
    """Say that the server's answer is not HTTP."""
    return Failure(502, Outcome.BAD_DATA.value, "upstream_invalid", f"the server's answer is not valid HTTP: {why}")


def bad_request(why: str) -> Failure:
    """Say that the client's request is not HTTP."""
    return Failure(400, BAD_REQUEST, "invalid_request", f"not a valid HTTP request: {why}")


def not_supported(what: str) -> Failure:
    """Say that what the client asks for is not HTTP requests and answers."""
    message = f"{what} are not passed on; connect to the server directly for them"
    return Failure(501, NOT_SUPPORTED, "not_supported", message)


def slow_client(limit: float) -> Failure:
    """Say that the request's body stopped coming."""
    return Failure(408, CLIENT_STALLED, "request_timeout", f"the request's body stopped for {limit:g} s")


def internal_error() -> Failure:
    """Say that the tap itself failed."""
    return Failure(500, Outcome.CLIENT_ERROR.value, "internal_error", "internal error (please report)")
