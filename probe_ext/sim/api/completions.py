"""Handlers of /v1/chat/completions, /v1/completions, /v1/responses and /v1/messages, streamed or not."""

import asyncio
import contextlib
from dataclasses import replace

from aiohttp import HttpVersion11, web

from probe_ext.sim.api.json_bodies import json_response, parse_object
from probe_ext.sim.faults import draw_fault
from probe_ext.sim.protocol.chat_writers import ReasoningWriter, ToolCallWriter
from probe_ext.sim.protocol.messages_bytes import MessagesWriter
from probe_ext.sim.protocol.request_body import ApiError, ApiRequest, parse_api_request
from probe_ext.sim.protocol.response_bytes import ENGINE_DIED, EventWriter, ReplyWriter, compact_json, full_body
from probe_ext.sim.protocol.responses_bytes import ResponsesWriter
from probe_ext.sim.serving.backend import Backend
from probe_ext.sim.serving.http_exchange import Choice, Exchange
from probe_ext.sim.serving.reply_forms import calls_tool, formed, reasoning_tokens, reasons
from probe_ext.sim.serving.reply_generator import Reply, ReplyGenerator

SSE_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8"}
ID_PREFIXES = {"completion": "cmpl-", "responses": "resp_"}
TOOLS_REFUSED = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
SUCCESSFUL_OUTCOMES = frozenset({"stop", "length"})


class Completions:
    """Turns HTTP requests into exchanges, submits them to the engine, and sends the responses."""

    def __init__(self, backend: Backend) -> None:
        options = backend.options
        self._backend = backend
        self._options = options
        self._replies = ReplyGenerator(backend.profile, options.seed, options.personality.first_token)
        self._response_cache: dict[bytes, tuple[bytes, bool]] = {}
        self._request_count = 0
        self._choice_count = 0

    async def handle(self, request: web.Request, api: str) -> web.StreamResponse:
        """Respond to one request. Raises :class:`ApiError` when it is refused."""
        raw = await request.read()
        await asyncio.sleep(self._options.personality.pass_on_s)
        arrival = self._backend.clock()
        key = request.path.encode() + raw
        if key in self._response_cache:
            return await _cached_response(request, *self._response_cache[key])
        parsed = parse_api_request(api, parse_object(raw), self._backend.model, self._backend.profile.max_model_len)
        parsed = self._altered(parsed)
        if self._options.personality.duplicates:
            self._duplicate(request, parsed, arrival)
        exchange = self._exchange(request, parsed, arrival)
        self._refuse_if_faulty(exchange)
        response = await (self._streamed if parsed.stream else self._full)(request, exchange)
        if exchange.recording is not None and exchange.done.result() in SUCCESSFUL_OUTCOMES:
            self._response_cache[key] = (bytes(exchange.recording), parsed.stream)
        return response

    def _duplicate(self, request: web.Request, parsed: ApiRequest, arrival: float) -> None:
        """Generate a reply that nobody gets."""
        pacer, twin = self._backend.pacer, self._exchange(request, replace(parsed, stream=False), arrival)
        twin.done.add_done_callback(lambda done: pacer.close(twin, "aborted" if done.cancelled() else done.result()))
        pacer.submit(twin)

    def _altered(self, parsed: ApiRequest) -> ApiRequest:
        """Return what the personality makes of a request."""
        personality = self._options.personality
        if not personality.streams:
            parsed = replace(parsed, stream=False)
        if parsed.tool is not None and personality.tools == "refused":
            raise ApiError(TOOLS_REFUSED, None)
        if not personality.usage_factor:
            parsed = replace(parsed, include_usage=False, continuous_usage=False)
        return parsed

    def _refuse_if_faulty(self, exchange: Exchange) -> None:
        kind = exchange.fault.kind if exchange.fault is not None else None
        if kind == "503":
            raise ApiError("The server is overloaded, try again later.", None, 503, "ServiceUnavailableError")
        if kind == "restart" and exchange.fault is not None:
            self._backend.restart(exchange.fault)
            raise ApiError("The server is starting.", None, 503, "ServiceUnavailableError")

    def _exchange(self, request: web.Request, parsed: ApiRequest, arrival: float) -> Exchange:
        self._request_count += 1
        name = request.headers.get("X-Request-Id") or f"{self._options.seed:04x}{self._request_count:012x}"
        reply_id = ID_PREFIXES.get(parsed.api, "chatcmpl-") + name
        created = int(self._backend.unix_time(arrival))
        personality = self._options.personality
        return Exchange(
            request=parsed,
            id=reply_id,
            created=created,
            arrival=arrival,
            done=asyncio.get_running_loop().create_future(),
            choices=[self._choice(parsed, reply_id, created, index) for index in range(parsed.choices)],
            stream_interval=personality.stream_interval,
            hold_back=personality.held_back,
            usage_details=personality.details,
            usage_factor=personality.usage_factor,
            lump_events=personality.lump_events,
            early_role=personality.early_role,
            sends_times=personality.request_times,
            fault=parsed.fault or draw_fault(self._options.faults, self._options.seed, self._request_count),
            recording=bytearray() if personality.response_cache else None,
        )

    def _choice(self, parsed: ApiRequest, reply_id: str, created: int, index: int) -> Choice:
        self._choice_count += 1
        reply = formed(self._replies.draw(parsed, self._request_count, index), parsed, self._options.personality)
        return Choice(self._choice_count, reply, self._writer(parsed, reply_id, created, index, reply))

    def _writer(self, parsed: ApiRequest, reply_id: str, created: int, index: int, reply: Reply) -> ReplyWriter:
        model, personality = self._backend.model, self._options.personality
        if calls_tool(parsed, personality) and parsed.tool and personality.tools != "text":
            held = personality.tools == "held"
            return ToolCallWriter(reply_id, created, model, index, tool=parsed.tool, held=held)
        if reasons(parsed, personality) and not personality.think_tags:
            length = len("".join(reply.texts[: reasoning_tokens(reply, personality)]))
            return ReasoningWriter(reply_id, created, model, index, reasoning_length=length)
        if parsed.api == "responses":
            return ResponsesWriter(reply_id, created, model, parsed.max_tokens)
        if parsed.api == "messages":
            return MessagesWriter(reply_id, model, len(parsed.prompt))
        return EventWriter(reply_id, created, model, parsed.chat, index)

    async def _streamed(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        response = await _event_stream(request)
        exchange.chunked = response.chunked
        transport = request.transport
        # aiohttp sends the head and the final chunk; the pacer writes the chunks in between to the transport.
        exchange.transport = transport if isinstance(transport, asyncio.WriteTransport) else None
        if exchange.early_role:
            exchange.send(b"".join(exchange.role_event(choice) for choice in exchange.choices))
        if await self._run(exchange) != "cut":
            with contextlib.suppress(ConnectionError):
                await response.write_eof()
        return response

    async def _full(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        outcome = await self._run(exchange)
        if outcome in {"cut", "truncate"} and request.transport is not None:
            request.transport.abort()
        if outcome not in SUCCESSFUL_OUTCOMES:
            return json_response(ENGINE_DIED, 500)
        body = self._document(exchange)
        if exchange.recording is not None:
            exchange.recording += body
        return web.Response(body=body, content_type="application/json")

    def _document(self, exchange: Exchange) -> bytes:
        texts = ["".join(choice.reply.texts) for choice in exchange.choices]
        reasons = [choice.reply.finish_reason for choice in exchange.choices]
        writer, chat = exchange.choices[0].writer, exchange.request.chat
        if isinstance(writer, ResponsesWriter | MessagesWriter):
            return compact_json(writer.document(texts[0], reasons[0], exchange.usage()))
        contents = [
            {"message": choice.writer.message(text)}
            if chat and isinstance(choice.writer, EventWriter)
            else {"text": text}
            for choice, text in zip(exchange.choices, texts, strict=True)
        ]
        if isinstance(writer, ToolCallWriter):
            reasons = ["tool_calls" if reason == "stop" else reason for reason in reasons]
        choices = list(zip(contents, reasons, strict=True))
        return full_body(exchange.id, exchange.created, self._backend.model, chat, choices, exchange.usage())

    async def _run(self, exchange: Exchange) -> str:
        pacer = self._backend.pacer
        pacer.submit(exchange)
        if not self._options.personality.cancels:
            return await self._run_to_the_end(exchange)
        try:
            outcome = await exchange.done
        finally:
            # Cutting a connection cancels this handler just as a client disconnect does, but then `done` is already
            # set.
            decided = exchange.done.done() and not exchange.done.cancelled()
            pacer.close(exchange, exchange.done.result() if decided else "aborted")
        if outcome in SUCCESSFUL_OUTCOMES:
            pacer.metrics.observe_parameters(exchange.request.max_tokens, exchange.request.choices)
        return outcome

    async def _run_to_the_end(self, exchange: Exchange) -> str:
        """Generate the whole reply, even after its client has gone."""
        pacer = self._backend.pacer
        exchange.done.add_done_callback(
            lambda done: pacer.close(exchange, "aborted" if done.cancelled() else done.result())
        )
        return await asyncio.shield(exchange.done)


async def _cached_response(request: web.Request, body: bytes, stream: bool) -> web.StreamResponse:
    if not stream:
        return web.Response(body=body, content_type="application/json")
    response = await _event_stream(request)
    await response.write(body)
    await response.write_eof()
    return response


async def _event_stream(request: web.Request) -> web.StreamResponse:
    """Send the head of an event stream: chunked, or for an HTTP/1.0 client delimited by the connection's end."""
    response = web.StreamResponse(headers=SSE_HEADERS)
    if request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    await response.prepare(request)
    return response
