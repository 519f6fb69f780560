"""Pass one request on to the server and its reply back, and report to the recorder how it ended."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_writer import StreamWriter

from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome
from probe_ext.recording.recorded_request import CLIENT_STALLED
from probe_ext.tap.proxy import failure_answers
from probe_ext.tap.proxy.client_body import RequestBody, SlowClientError
from probe_ext.tap.proxy.failure_answers import Failure
from probe_ext.tap.proxy.header_lines import request_headers, response_headers
from probe_ext.tap.proxy.response_cache import CACHE_HEADER, CacheDraft, ResponseCache, StoredReply
from probe_ext.tap.proxy.upstream import Exchange, Upstream, UpstreamError
from probe_ext.tap.proxy.upstream_answer import Answer, BadAnswerError, CutError
from probe_ext.tap.traffic.observed_request import ObservedRequest
from probe_ext.tap.traffic_recorder import Recorder

ANALYSIS_DELAY_S = 0.002
"""after which a request is looked at: by then it is on its way to the server, which takes longer to answer"""
_RECORDING_DELAY_S = 0.002
"""after which a request that has ended is recorded: by then its client has the end of the reply. Not longer than the
one before, so that a request is recorded before the next one of its session is looked at"""
_MIN_WAIT_S = 0.001
"""a write that takes as long had to wait for the client"""
_MAX_UNWATCHED_BYTES = 32 * 2**10
"""a piece of at most this size, written to an empty buffer, cannot have to wait: asyncio's limit is twice that"""


class _ClientGoneError(Exception):
    """The client hung up, or reads no more; `outcome` says which."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class PassedResponse(web.StreamResponse):
    """A response whose headers are those of the server."""

    _send_headers_immediately = False  # see `send_head_soon`
    passed_on: frozenset[str] = frozenset()
    """names in lower case"""

    async def send_head_soon(self, request: web.BaseRequest) -> None:
        """Send the head, with the first piece of the body if that is here already.

        One packet instead of two wakes the client once, with all that it waits for. If nothing is written before the
        event loop's next turn, the head goes alone.
        """
        await self.prepare(request)
        asyncio.get_running_loop().call_soon(self.send_head)

    def send_head(self) -> None:
        """Send the head now, unless it was sent."""
        if self._payload_writer is not None:
            with contextlib.suppress(ConnectionError):  # whoever writes next finds out
                self._payload_writer.send_headers()

    async def send_whole(self, request: web.BaseRequest, pieces: Sequence[bytes]) -> None:
        """Send all at once, in the chunks that the server sent: a call for each would take most of the time."""
        await self.prepare(request)
        self.send_head()
        writer = self._payload_writer
        if isinstance(writer, StreamWriter) and writer.chunked and request.transport is not None:
            request.transport.write(b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces))
            await writer.drain()
        else:
            await self.write(b"".join(pieces))
        await self.write_eof()


class Passing:
    """Handles the requests of all clients."""

    def __init__(
        self, upstream: Upstream, recorder: Recorder, patience: float, cache: ResponseCache | None = None
    ) -> None:
        """`patience`: longest time in seconds in which a client may neither send nor read."""
        self._upstream, self._recorder, self._patience, self._cache = upstream, recorder, patience, cache
        self._ended: deque[tuple[ObservedRequest, CacheDraft | None]] = deque()
        """requests that are still to be recorded"""
        self.stopping = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. ConnectionResetError ends the connection in mid-reply, as the server did."""
        path = target_of(request.raw_path)
        headers = request.headers
        observed = self._recorder.begin(clock.monotonic(), request.method, path.partition("?")[0], headers)
        one = _OneRequest(self._upstream, self._patience, request, observed)
        if self._cache is not None:
            self.record_ended()  # the same request may be among them
            one.draft = CacheDraft(self._cache, request.method, path, headers)
        broken: str | None = Outcome.CLIENT_ERROR.value
        try:
            response, broken = await one.run(path)
        except asyncio.CancelledError:
            broken = (Outcome.ENDED_BY_US if self.stopping else Outcome.HUNG_UP).value
            raise
        finally:
            observed.body, observed.request_bytes = one.body.copy, one.body.size
            observed.client_wait += one.body.waited
            self._recorder.end(observed, broken)
            self._ended.append((observed, one.draft))
            asyncio.get_running_loop().call_later(_RECORDING_DELAY_S, self._record_first)
        if broken is not None and response.prepared:
            if broken == CLIENT_STALLED and request.transport is not None:
                request.transport.abort()  # what it does not read cannot be flushed
            raise ConnectionResetError(broken)
        return response

    def record_ended(self) -> None:
        """Record all requests that have ended."""
        while self._ended:
            self._record_first()

    def _record_first(self) -> None:
        if self._ended:
            observed, draft = self._ended.popleft()
            outcome = self._recorder.record(observed)
            if draft is not None and observed.reply is not None and outcome == Outcome.COMPLETE.value:
                draft.store(clock.monotonic(), observed.reply)


class _OneRequest:
    """One request on its way."""

    def __init__(
        self, upstream: Upstream, patience: float, request: web.BaseRequest, observed: ObservedRequest
    ) -> None:
        self._upstream, self._patience = upstream, patience
        self._request, self._observed = request, observed
        self.body = RequestBody(request, patience)
        self.draft: CacheDraft | None = None
        """None without a response cache"""

    async def run(self, path: str) -> tuple[web.StreamResponse, str | None]:
        """Return the answer, and how it was broken off, if it was."""
        if what := _other_protocol(self._request):
            return _failed(failure_answers.not_supported(what))
        try:
            if stored := await self._stored():
                return await self._replay(stored)
            exchange = await self._ask(path)
        except SlowClientError:
            return _failed(failure_answers.slow_client(self._patience))
        except (HttpProcessingError, web.RequestPayloadError) as error:
            return _failed(failure_answers.bad_request(type(error).__name__))
        except UpstreamError as error:
            return _failed(error.failure)
        try:
            return await self._relay(exchange.answer)
        finally:
            exchange.close()

    async def _stored(self) -> StoredReply | None:
        """Return the reply that the cache has for this request."""
        if self.draft is None or not self.body.is_read_first:
            return None
        await self.body.data()
        return self.draft.find(self.body.copy, clock.monotonic())

    async def _replay(self, stored: StoredReply) -> tuple[web.StreamResponse, str | None]:
        """Answer from the cache."""
        observed, now = self._observed, clock.monotonic()
        observed.body, observed.cached = self.body.copy, True
        headers = stored.headers.copy()
        headers["Age"] = str(int(now - stored.stored_at))
        headers[CACHE_HEADER] = "hit"
        known = _lower(headers)
        observed.head(stored.status, known)
        observed.stored_reply(now, sum(map(len, stored.pieces)), stored.facts)
        response = PassedResponse(status=stored.status, reason=stored.reason, headers=headers)
        response.passed_on = frozenset(known)
        try:
            with _client_errors():
                async with asyncio.timeout(self._patience):
                    await response.send_whole(self._request, stored.pieces)
        except _ClientGoneError as gone:
            return response, gone.outcome
        return response, None

    async def _ask(self, path: str) -> Exchange:
        """Send the request; while it is on its way, its body is looked at."""
        request = self._request
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = await self.body.data()
        headers = request_headers(request.raw_headers)
        if not self.body.is_whole:
            return await self._upstream.open(request.method, path, headers, data, chunked=self.body.is_chunked)
        self._observed.body = self.body.copy
        timer = asyncio.get_running_loop().call_later(ANALYSIS_DELAY_S, self._observed.analyse)
        try:
            return await self._upstream.open(request.method, path, headers, data)
        except BaseException:
            timer.cancel()
            raise

    async def _relay(self, answer: Answer) -> tuple[web.StreamResponse, str | None]:
        headers = response_headers(answer.headers, chunked=answer.chunked)
        known, reason = _lower(headers), answer.reason.decode("latin-1")
        self._observed.head(answer.status, known)
        if self.draft is not None and self.draft.take_head(answer.status, reason, headers, known):
            headers[CACHE_HEADER] = "miss"
        if not self.body.is_whole:
            self._observed.body = self.body.copy
        response = PassedResponse(status=answer.status, reason=reason, headers=headers)
        response.passed_on = frozenset(known)
        try:
            with _client_errors():
                await response.send_head_soon(self._request)
            try:
                await self._relay_body(answer, response)
            finally:
                response.send_head()
            with _client_errors():
                await response.write_eof()
        except _ClientGoneError as gone:
            return response, gone.outcome
        except TimeoutError:
            return response, Outcome.STALLED.value
        except CutError:
            return response, Outcome.CUT.value
        except BadAnswerError:
            return response, Outcome.BAD_DATA.value
        except SlowClientError:  # its body was not at its end when the answer began
            return response, CLIENT_STALLED
        return response, None

    async def _relay_body(self, answer: Answer, response: web.StreamResponse) -> None:
        """Pass pieces on as they come."""
        observed = self._observed
        while True:
            at, piece = await answer.piece()
            if not piece:
                return
            with _client_errors():
                observed.client_wait += await self._write(response, piece)
            observed.piece(at, piece)
            if self.draft is not None:
                self.draft.take_piece(piece)

    async def _write(self, response: web.StreamResponse, piece: bytes) -> float:
        """Return the seconds for which the client had to be waited for."""
        transport = self._request.transport
        if len(piece) <= _MAX_UNWATCHED_BYTES and transport is not None and not transport.get_write_buffer_size():
            await response.write(piece)
            return 0.0
        before = clock.monotonic()
        async with asyncio.timeout(self._patience):
            await response.write(piece)
        waited = clock.monotonic() - before
        return waited if waited > _MIN_WAIT_S else 0.0


@contextlib.contextmanager
def _client_errors() -> Iterator[None]:
    """Tell errors of the client's connection from those of the server's."""
    try:
        yield
    except TimeoutError:
        raise _ClientGoneError(CLIENT_STALLED) from None
    except ConnectionError:
        raise _ClientGoneError(Outcome.HUNG_UP.value) from None


def _failed(failure: Failure) -> tuple[web.StreamResponse, str]:
    return failure.response(), failure.outcome


def _other_protocol(request: web.BaseRequest) -> str:
    """Return what a request wants the connection to become; "" for what a server may ignore, such as HTTP/2."""
    if request.method == hdrs.METH_CONNECT:
        return "tunnels (CONNECT)"
    named = {token.strip().lower() for token in request.headers.get(hdrs.CONNECTION, "").split(",")}
    wanted = request.headers.get(hdrs.UPGRADE, "").lower() if "upgrade" in named else ""
    return "WebSockets" if "websocket" in wanted else ""


def target_of(raw: str) -> str:
    """Return path and query of a request's target, which may be a whole URL."""
    if raw.startswith("/") or raw == "*":
        return raw
    _, found, rest = raw.partition("://")
    return "/" + rest.partition("/")[2] if found else "/"


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
