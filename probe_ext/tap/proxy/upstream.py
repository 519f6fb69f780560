"""The server behind the tap: connections to it, and why they fail."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from probe_ext.client.wire.address import Target
from probe_ext.measure import clock
from probe_ext.measure.safe_text import safe_text
from probe_ext.tap.proxy import failure_answers
from probe_ext.tap.proxy.failure_answers import Failure
from probe_ext.tap.traffic.request_facts import parse_body
from probe_ext.tls_trust import why_refused

KEEP_ALIVE_S = 4.0
"""of idle connections: shorter than the 5 s after which most servers close them"""
_STALE_CONNECTION_S = 1.0
"""a reused connection that ends without an answer this soon was closed before our request arrived"""
_MAX_LINE_BYTES = 64 * 2**10
_MAX_MODELS_BYTES = 2**20
_NO_DEFAULTS = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")

Body = bytes | AsyncIterator[bytes] | None


class UpstreamError(Exception):
    """There is no answer of the server; `failure` is what its client gets."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Upstream:
    """Sends requests to the server, unchanged."""

    def __init__(self, target: Target, context: ssl.SSLContext | None, *, connect: float, silence: float) -> None:
        """`connect`: seconds for a connection; `silence`: longest time without a byte of an answer."""
        self._base, self._connect, self._silence = target.url, connect, silence
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context or True, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=silence),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NO_DEFAULTS,
            auto_decompress=False,
            trust_env=False,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            trace_configs=[trace],
        )

    async def open(
        self, method: str, path: str, headers: CIMultiDict[str], body: Body, *, repeatable: bool
    ) -> aiohttp.ClientResponse:
        """Send a request and return the answer's head, with the body still to be read. UpstreamError without one.

        `repeatable`: whether `body` can be sent twice, as after a server has closed an idle connection.
        """
        state = SimpleNamespace(reused=False)
        began = clock.monotonic()
        try:
            return await self._send(method, path, headers, body, state)
        except (aiohttp.ServerDisconnectedError, ConnectionError) as error:
            soon = clock.monotonic() - began < _STALE_CONNECTION_S
            if not (state.reused and soon and repeatable):
                raise UpstreamError(self._failure(error)) from error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise UpstreamError(self._failure(error)) from error
        return await self._again(method, path, headers, body)

    async def _again(self, method: str, path: str, headers: CIMultiDict[str], body: Body) -> aiohttp.ClientResponse:
        try:
            return await self._send(method, path, headers, body, SimpleNamespace())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise UpstreamError(self._failure(error)) from error

    async def _send(
        self, method: str, path: str, headers: CIMultiDict[str], body: Body, state: SimpleNamespace
    ) -> aiohttp.ClientResponse:
        return await self._session.request(
            method,
            URL(self._base + path, encoded=True),
            headers=headers,
            data=body,
            allow_redirects=False,
            trace_request_ctx=state,
        )

    def _failure(self, error: BaseException) -> Failure:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return failure_answers.connect_timeout(self._connect)
        if isinstance(error, TimeoutError):
            return failure_answers.no_answer(self._silence)
        if isinstance(error, aiohttp.ClientConnectorError):
            cause = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else None
            cause = cause or error.os_error
            return failure_answers.unreachable(why_refused(cause) or _why(cause))
        if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
            return failure_answers.closed_unanswered("before the head of an answer")
        if isinstance(error, aiohttp.ClientResponseError):
            return failure_answers.not_http(safe_text(str(error.message)))
        return failure_answers.closed_unanswered(safe_text(str(error)) or type(error).__name__)

    async def max_model_len(self, headers: Mapping[str, str]) -> int | None:
        """Return the largest context that /v1/models states, in tokens; None if it states none."""
        try:
            async with (
                asyncio.timeout(self._connect),
                self._session.get(URL(self._base + "/v1/models", encoded=True), headers=headers) as response,
            ):
                raw = await response.content.read(_MAX_MODELS_BYTES)
                return largest_context(raw) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def largest_context(raw: bytes) -> int | None:
    """Return the largest `max_model_len` in the body of /v1/models."""

    listed = (parse_body(raw) or {}).get("data")
    models = listed if isinstance(listed, list) else []
    limits = [model.get("max_model_len") for model in models if isinstance(model, dict)]
    return max((each for each in limits if isinstance(each, int) and each > 0), default=None)


def _why(error: BaseException) -> str:
    """Return the reason without the addresses that asyncio adds."""
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno:
        return os.strerror(error.errno)
    return safe_text(getattr(error, "strerror", None) or str(error))


async def _note_reuse(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    if (state := getattr(context, "trace_request_ctx", None)) is not None:
        state.reused = True
