"""Answering /v1/chat/completions and /v1/completions, streamed or whole."""

import asyncio
import contextlib

from aiohttp import web

from probe_ext.sim.api.exchange import Choice, Exchange
from probe_ext.sim.api.json_bodies import json_answer, read_object
from probe_ext.sim.api.request_body import Ask, AskError, read_ask
from probe_ext.sim.api.response_bytes import ENGINE_DIED, EventWriter, whole_body
from probe_ext.sim.backend import Backend
from probe_ext.sim.faults import draw_fault
from probe_ext.sim.reply_plan import Replies

SSE = {"Content-Type": "text/event-stream; charset=utf-8"}
ANSWERED = frozenset({"stop", "length"})


class Completions:
    """Turns requests into exchanges, hands them to the engine, and sends what becomes of them."""

    def __init__(self, backend: Backend) -> None:
        options = backend.options
        self._backend = backend
        self._options = options
        self._replies = Replies(backend.profile, options.seed, options.personality.first_token)
        self._cache: dict[bytes, tuple[bytes, bool]] = {}
        self._requests = 0
        self._numbers = 0

    async def answer(self, request: web.Request, chat: bool) -> web.StreamResponse:
        """Answer one request. Raises :class:`AskError` for a refusal."""
        arrival = self._backend.clock()
        raw = await request.read()
        key = request.path.encode() + raw
        if key in self._cache:
            return await _remembered(request, *self._cache[key])
        ask = read_ask(read_object(raw), chat, self._backend.model, self._backend.profile.max_model_len)
        exchange = self._exchange(request, ask, arrival)
        self._strike_at_the_door(exchange)
        response = await (self._streamed if ask.stream else self._whole)(request, exchange)
        if exchange.record is not None and exchange.done.result() in ANSWERED:
            self._cache[key] = (bytes(exchange.record), ask.stream)
        return response

    def _strike_at_the_door(self, exchange: Exchange) -> None:
        kind = exchange.fault.kind if exchange.fault is not None else None
        if kind == "503":
            raise AskError("The server is overloaded, try again later.", None, 503, "ServiceUnavailableError")
        if kind == "restart" and exchange.fault is not None:
            self._backend.restart(exchange.fault)
            raise AskError("The server is starting.", None, 503, "ServiceUnavailableError")

    def _exchange(self, request: web.Request, ask: Ask, arrival: float) -> Exchange:
        self._requests += 1
        name = request.headers.get("X-Request-Id") or f"{self._options.seed:04x}{self._requests:012x}"
        reply_id = ("chatcmpl-" if ask.chat else "cmpl-") + name
        created = int(self._backend.unix(arrival))
        personality = self._options.personality
        return Exchange(
            ask=ask,
            id=reply_id,
            created=created,
            arrival=arrival,
            done=asyncio.get_running_loop().create_future(),
            choices=[self._choice(ask, reply_id, created, index) for index in range(ask.choices)],
            interval=personality.stream_interval,
            held_back=personality.held_back,
            details=personality.details,
            early_role=personality.early_role,
            fault=ask.fault or draw_fault(self._options.faults, self._options.seed, self._requests),
            record=bytearray() if personality.response_cache else None,
        )

    def _choice(self, ask: Ask, reply_id: str, created: int, index: int) -> Choice:
        self._numbers += 1
        reply = self._replies.draw(ask, self._requests, index)
        return Choice(self._numbers, reply, EventWriter(reply_id, created, self._backend.model, ask.chat, index))

    async def _streamed(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        response = web.StreamResponse(headers=SSE)
        response.enable_chunked_encoding()
        await response.prepare(request)
        transport = request.transport
        # aiohttp has sent the head and, at the end, sends the last chunk; the pacer writes the chunks between.
        exchange.transport = transport if isinstance(transport, asyncio.WriteTransport) else None
        if exchange.early_role:
            exchange.send(b"".join(exchange.role(choice) for choice in exchange.choices))
        if await self._run(exchange) != "cut":
            with contextlib.suppress(ConnectionError):
                await response.write_eof()
        return response

    async def _whole(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        outcome = await self._run(exchange)
        if outcome in {"cut", "truncate"} and request.transport is not None:
            request.transport.abort()
        if outcome not in ANSWERED:
            return json_answer(ENGINE_DIED, 500)
        texts = [("".join(choice.reply.texts), choice.reply.ends) for choice in exchange.choices]
        asked = exchange.ask
        body = whole_body(exchange.id, exchange.created, self._backend.model, asked.chat, texts, exchange.usage())
        if exchange.record is not None:
            exchange.record += body
        return web.Response(body=body, content_type="application/json")

    async def _run(self, exchange: Exchange) -> str:
        pacer = self._backend.pacer
        pacer.submit(exchange)
        try:
            outcome = await exchange.done
        finally:
            # A connection that we cut cancels this handler as a client that leaves does: then it was decided already.
            decided = exchange.done.done() and not exchange.done.cancelled()
            pacer.close(exchange, exchange.done.result() if decided else "aborted")
        if outcome in ANSWERED:
            pacer.metrics.asked(exchange.ask.max_tokens, exchange.ask.choices)
        return outcome


async def _remembered(request: web.Request, body: bytes, stream: bool) -> web.StreamResponse:
    if not stream:
        return web.Response(body=body, content_type="application/json")
    response = web.StreamResponse(headers=SSE)
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(body)
    await response.write_eof()
    return response
