"""The server behind the tap: connections to it, and why they fail."""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import replace

from probe_ext.client.wire.address import Target
from probe_ext.measure import clock
from probe_ext.measure.safe_text import safe_text
from probe_ext.tap.proxy import failure_answers
from probe_ext.tap.proxy.failure_answers import Failure
from probe_ext.tap.proxy.upstream_answer import Answer, BadAnswerError, CutError, RawHeader
from probe_ext.tap.proxy.upstream_connection import Body, UpstreamConnection
from probe_ext.tap.traffic.request_facts import parse_body
from probe_ext.tls_trust import why_refused

KEEP_ALIVE_S = 4.0
"""of idle connections: shorter than the 5 s after which most servers close them"""
_STALE_CONNECTION_S = 1.0
"""a reused connection that ends without an answer this soon was closed before our request arrived"""
_MAX_MODELS_BYTES = 8 * 2**20


class UpstreamError(Exception):
    """There is no answer of the server; `failure` is what its client gets."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Exchange:
    """An answer, and the connection on which it comes. `close` must follow."""

    def __init__(self, upstream: "Upstream", connection: UpstreamConnection, answer: Answer) -> None:
        self.answer = answer
        self._upstream, self._connection = upstream, connection

    def close(self) -> None:
        """Keep the connection if the whole answer was read; otherwise end it, and with it the request."""
        self._upstream.release(self._connection)


class Upstream:
    """Sends requests to the server, unchanged."""

    def __init__(self, target: Target, context: ssl.SSLContext | None, *, connect: float, silence: float) -> None:
        """`connect`: seconds for a connection; `silence`: longest time without a byte of an answer."""
        self._target, self._context, self._connect, self._silence = target, context, connect, silence
        name = target.host if target.host.isascii() else target.host.encode("idna").decode()
        self._host = f"Host: {replace(target, host=name).authority}".encode("ascii")
        self._idle: list[UpstreamConnection] = []
        """the one that was used last is at the end"""
        self._sweep: asyncio.TimerHandle | None = None

    async def open(
        self, method: str, path: str, headers: Iterable[RawHeader], body: Body, *, chunked: bool = False
    ) -> Exchange:
        """Send a request, and return the answer when its head is here. UpstreamError without one.

        A `body` of bytes, or None, is sent again if the server has just closed an idle connection. `chunked`: whether
        the length of another one is not among the headers. Errors of the body's iterator pass through.
        """
        target = self._target.prefix + path if path.startswith("/") else path
        lines = [f"{method} {target} HTTP/1.1".encode("utf-8", "surrogateescape"), self._host]
        lines += [b"%b: %b" % header for header in headers]
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
        head = b"\r\n".join([*lines, b"", b""])
        bodyless, began, connection = method == "HEAD", clock.monotonic(), self._take()
        if connection is not None:
            try:
                return await self._ask(connection, head, body, chunked=chunked, bodyless=bodyless)
            except CutError as error:
                stale = error.unanswered and clock.monotonic() - began < _STALE_CONNECTION_S
                if not stale or not (body is None or isinstance(body, bytes)):
                    raise UpstreamError(self._failure(error)) from error
            except (TimeoutError, BadAnswerError) as error:
                raise UpstreamError(self._failure(error)) from error
        connection = await self._connected()
        try:
            return await self._ask(connection, head, body, chunked=chunked, bodyless=bodyless)
        except (TimeoutError, CutError, BadAnswerError) as error:
            raise UpstreamError(self._failure(error)) from error

    async def _ask(
        self, connection: UpstreamConnection, head: bytes, body: Body, *, chunked: bool, bodyless: bool
    ) -> Exchange:
        try:
            answer = await connection.ask(head, body, self._silence, chunked=chunked, bodyless=bodyless)
        except BaseException:
            connection.finish()
            raise
        return Exchange(self, connection, answer)

    def _failure(self, error: TimeoutError | CutError | BadAnswerError) -> Failure:
        if isinstance(error, TimeoutError):
            return failure_answers.no_answer(self._silence)
        if isinstance(error, CutError):
            return failure_answers.closed_unanswered("before the head of an answer")
        return failure_answers.not_http(str(error))

    # --- connections -------------------------------------------------------------------------------------------------

    def _take(self) -> UpstreamConnection | None:
        """Return an idle connection."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back after an exchange."""
        if not connection.finish():
            return
        connection.idle_since = clock.monotonic()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._close_idle)

    def _close_idle(self) -> None:
        oldest = clock.monotonic() - KEEP_ALIVE_S
        for connection in self._idle:
            if connection.idle_since <= oldest and not connection.closed:
                connection.close()
        self._idle = [connection for connection in self._idle if not connection.closed]
        self._sweep = None
        if self._idle:
            wait = max(0.1, self._idle[0].idle_since - oldest)
            self._sweep = asyncio.get_running_loop().call_later(wait, self._close_idle)

    async def _connected(self) -> UpstreamConnection:
        """Return a new connection to the first of the server's addresses that accepts one."""
        try:
            async with asyncio.timeout(self._connect):
                return await self._connected_to_any()
        except TimeoutError:
            raise UpstreamError(failure_answers.connect_timeout(self._connect)) from None
        except OSError as error:  # of TLS as well
            raise UpstreamError(failure_answers.unreachable(why_refused(error) or _why(error))) from error

    async def _connected_to_any(self) -> UpstreamConnection:
        loop, target = asyncio.get_running_loop(), self._target
        addresses = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        problem: OSError | None = None
        for family, _, _, _, address in addresses:
            try:
                _, connection = await loop.create_connection(
                    UpstreamConnection,
                    *address[:2],
                    family=family,
                    ssl=self._context,
                    server_hostname=target.host if self._context else None,
                )
            except OSError as error:
                problem = problem or error
            else:
                return connection
        raise problem or OSError("its name has no address")

    async def max_model_len(self) -> int | None:
        """Return the largest context that /v1/models states, in tokens; None if it states none."""
        try:
            async with asyncio.timeout(self._connect):
                exchange = await self.open("GET", "/v1/models", (), None)
                try:
                    return await _context_of(exchange.answer)
                finally:
                    exchange.close()
        except (UpstreamError, CutError, BadAnswerError, TimeoutError):
            return None

    async def close(self) -> None:
        """Close the connections that are not in use."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # a closed transport leaves the event loop in its next turn


async def _context_of(answer: Answer) -> int | None:
    raw = bytearray()
    while len(raw) < _MAX_MODELS_BYTES:
        _, piece = await answer.piece()
        if not piece:
            return largest_context(bytes(raw)) if answer.status == 200 else None
        raw += piece
    return None


def largest_context(raw: bytes) -> int | None:
    """Return the largest `max_model_len` in the body of /v1/models."""
    listed = (parse_body(raw) or {}).get("data")
    models = listed if isinstance(listed, list) else []
    limits = [model.get("max_model_len") for model in models if isinstance(model, dict)]
    return max((each for each in limits if isinstance(each, int) and each > 0), default=None)


def _why(error: OSError) -> str:
    """Return the reason without the addresses that asyncio adds."""
    if not isinstance(error, socket.gaierror) and error.errno:
        return os.strerror(error.errno)
    return safe_text(error.strerror or str(error))
