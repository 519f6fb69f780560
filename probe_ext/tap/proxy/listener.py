"""Listens for clients. What they send that is not HTTP gets an answer too, and is recorded."""

import socket
import ssl
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from probe_ext.measure import clock
from probe_ext.measure.safe_text import safe_text
from probe_ext.tap.proxy import failure_answers
from probe_ext.tap.proxy.passing import PassedResponse, Passing
from probe_ext.tap.traffic_recorder import Recorder

_MAX_LINE_BYTES = 64 * 2**10
_BACKLOG = 4096
_ADDED_HEADERS = frozenset({"server", "date", "content-type"})
"""by aiohttp, to responses without them"""
_SHUTDOWN_S = 2.0
_LINGERING_S = 1.0
"""for which the rest of a refused request is still read, so that its client sees the answer"""


class _Request(web.BaseRequest):
    """A request whose response has the headers of the server's, and no others."""

    async def _prepare_hook(self, resp: web.StreamResponse) -> None:
        if isinstance(resp, PassedResponse):
            for name in _ADDED_HEADERS - resp.passed_on:
                resp.headers.popall(name, None)


class _Connection(RequestHandler):
    """One connection of a client."""

    recorder: Recorder

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer bytes that are no HTTP request, and errors of the tap itself."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("the response was cut off")
        if message is None:
            return failure_answers.internal_error().response()
        self.recorder.bad_request(clock.monotonic())
        why, _, _ = message.partition("b'")  # the rest are bytes of the request, which may contain a key
        return failure_answers.bad_request(safe_text(why).rstrip(" :")).response()


class _Server(web.Server):
    """Makes a handler for each connection."""

    def __init__(self, passing: Passing, recorder: Recorder) -> None:
        super().__init__(passing.handle, request_factory=_request, handler_cancellation=True)
        self._recorder = recorder

    def __call__(self) -> RequestHandler:
        """Return a handler for a new connection."""
        connection = _Connection(
            self,
            loop=self._loop,
            access_log=None,  # type: ignore[arg-type] # as aiohttp's own runner passes it
            auto_decompress=False,
            lingering_time=_LINGERING_S,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
        )
        connection.recorder = self._recorder
        return connection


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    return _Request(message, payload, protocol, writer, task, protocol._loop)  # noqa: SLF001 -- as aiohttp's own factory


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind an address, so that clients can connect. OSError if that is not possible."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family, backlog=_BACKLOG)


class Listener:
    """Accepts connections until it is closed."""

    def __init__(self, passing: Passing, recorder: Recorder) -> None:
        self._passing = passing
        self._runner = web.ServerRunner(_Server(passing, recorder), shutdown_timeout=_SHUTDOWN_S)

    async def start(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accept connections. `context`: for clients that speak TLS."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening, backlog=_BACKLOG, ssl_context=context).start()

    async def close(self) -> None:
        """Stop listening, end what is in flight, and record it."""
        self._passing.stopping = True
        await self._runner.cleanup()
        self._passing.record_ended()
