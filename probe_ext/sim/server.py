"""The HTTP face: vLLM's paths over the simulated engine."""

import asyncio
import contextlib
import hmac
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from probe_ext.sim.asks import Ask, AskError, read_ask, read_messages, read_prompt
from probe_ext.sim.engine import Engine
from probe_ext.sim.exchange import Choice, Exchange
from probe_ext.sim.faults import Fault, draw_fault
from probe_ext.sim.metrics import Metrics
from probe_ext.sim.pacer import Pacer
from probe_ext.sim.personality import Personality
from probe_ext.sim.profile import Profile
from probe_ext.sim.replies import Replies
from probe_ext.sim.tokens import encode_chat
from probe_ext.sim.truth import Truth
from probe_ext.sim.wire import ENGINE_DIED, EventWriter, compact, whole_body

VERSION = "0.32.0"
SLOW_METRICS_S = 3.0
SSE = {"Content-Type": "text/event-stream; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Options:
    """How the server is run."""

    profile: Profile
    personality: Personality = field(default_factory=Personality)
    speed: float = 1.0
    seed: int = 0
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    metrics: str = "on"
    truth: str | None = None
    faults: tuple[Fault, ...] = ()


class Server:
    """Holds the engine's pacer and answers requests. Make it inside a running event loop's application."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._profile = options.personality.applied(options.profile)
        self._model = options.model or self._profile.model
        self._replies = Replies(self._profile, options.seed, options.personality.first_token)
        self._cache: dict[bytes, tuple[bytes, bool]] = {}
        self._numbers = 0
        self._requests = 0
        self._down_until = 0.0

    def application(self) -> web.Application:
        """The aiohttp application; its engine runs as long as it does."""
        app = web.Application(middlewares=[self._guard], client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completion)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/version", self._version)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.cleanup_ctx.append(self._lifetime)
        return app

    async def _lifetime(self, _: web.Application) -> AsyncIterator[None]:
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        self._created = time.time()  # noqa: TID251 - Unix time appears in bodies and metrics
        self._truth = Truth(self._options.truth, self._head())
        self._pacer = Pacer(self._engine(), self._fresh_metrics(), self._truth, self._clock)
        tasks = [asyncio.create_task(work) for work in (self._pacer.run(), self._flush_truth(), self._restarts())]
        for task in tasks:
            task.add_done_callback(_report)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._truth.close()

    def stop(self) -> None:
        """End all open streams as vLLM does when it is told to end: an error inside the stream."""
        self._pacer.restart(self._engine(), self._fresh_metrics())

    def _head(self) -> dict[str, Any]:
        own = {"profile": asdict(self._profile), "personality": asdict(self._options.personality)}
        clocks = {"monotonic": self._clock(), "epoch": time.time()}  # noqa: TID251 - ties the record to the calendar
        return {**own, **clocks, "speed": self._options.speed, "seed": self._options.seed, "model": self._model}

    def _engine(self) -> Engine:
        return Engine(self._profile, self._options.speed, self._options.personality.cold)

    def _fresh_metrics(self) -> Metrics:
        return Metrics(self._profile, self._model, time.time())  # noqa: TID251 - creation times are Unix times

    async def _flush_truth(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._truth.flush()

    async def _restarts(self) -> None:
        started = self._clock()
        for fault in self._options.faults:
            if fault.kind == "restart":
                await asyncio.sleep(max(0.0, started + fault.share - self._clock()))
                self._restart(fault)

    def _restart(self, fault: Fault) -> None:
        self._down_until = self._clock() + (fault.seconds or 0.0)
        self._pacer.restart(self._engine(), self._fresh_metrics())

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Key, downtime and the count of answers."""
        response = await self._guarded(request, handler)
        known = request.match_info.route.resource
        if known is not None and request.path != "/metrics":
            self._pacer.metrics.answered(request.method, known.canonical, response.status)
        return response

    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self._clock() < self._down_until:
            return web.Response(status=503)
        key = self._options.api_key
        if key is not None and request.path.startswith("/v1"):
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
                return _json({"error": "Unauthorized"}, 401)
        try:
            response: web.StreamResponse = await handler(request)
        except AskError as error:
            return _json(error.body, error.status)
        except web.HTTPNotFound:
            return _json({"detail": "Not Found"}, 404)
        except web.HTTPMethodNotAllowed:
            return _json({"detail": "Method Not Allowed"}, 405)
        return response

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, chat=True)

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, chat=False)

    async def _answer(self, request: web.Request, chat: bool) -> web.StreamResponse:
        arrival = self._clock()
        raw = await request.read()
        key = request.path.encode() + raw
        if self._options.personality.response_cache and key in self._cache:
            return await _from_cache(request, *self._cache[key])
        ask = read_ask(_object(raw), chat, self._model, self._profile.max_model_len)
        exchange = self._exchange(request, ask, arrival)
        if exchange.fault is not None and exchange.fault.kind == "503":
            raise AskError("The server is overloaded, try again later.", None, 503, "ServiceUnavailableError")
        if exchange.fault is not None and exchange.fault.kind == "restart":
            self._restart(exchange.fault)
        response = await (self._streamed if ask.stream else self._whole)(request, exchange)
        if exchange.record is not None and exchange.done.result() in {"stop", "length"}:
            body = bytes(exchange.record) if ask.stream else response.body  # type: ignore[attr-defined]
            self._cache[key] = (body, ask.stream)
        return response

    def _exchange(self, request: web.Request, ask: Ask, arrival: float) -> Exchange:
        self._requests += 1
        name = request.headers.get("X-Request-Id") or f"{self._options.seed:04x}{self._requests:012x}"
        reply_id = ("chatcmpl-" if ask.chat else "cmpl-") + name
        created = int(self._created + arrival - self._started)
        personality = self._options.personality
        return Exchange(
            ask=ask,
            id=reply_id,
            created=created,
            arrival=arrival,
            done=asyncio.get_running_loop().create_future(),
            choices=[self._choice(ask, reply_id, created, index) for index in range(ask.choices)],
            interval=personality.stream_interval,
            details=personality.details,
            early_role=personality.early_role,
            fault=ask.fault or draw_fault(self._options.faults, self._options.seed, self._requests),
            record=bytearray() if personality.response_cache else None,
        )

    def _choice(self, ask: Ask, reply_id: str, created: int, index: int) -> Choice:
        self._numbers += 1
        reply = self._replies.draw(ask, self._requests, index)
        return Choice(self._numbers, reply, EventWriter(reply_id, created, self._model, ask.chat, index))

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
        if outcome not in {"stop", "length"}:
            return _json(ENGINE_DIED, 500)
        texts = [("".join(choice.reply.texts), choice.reply.ends) for choice in exchange.choices]
        body = whole_body(exchange.id, exchange.created, self._model, exchange.ask.chat, texts, exchange.usage())
        return web.Response(body=body, content_type="application/json")

    async def _run(self, exchange: Exchange) -> str:
        outcome = "aborted"
        self._pacer.submit(exchange)
        try:
            outcome = await exchange.done
        finally:
            self._pacer.close(exchange, outcome)
        if outcome in {"stop", "length"}:
            self._pacer.metrics.asked(exchange.ask.max_tokens, exchange.ask.choices)
        return outcome

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = _object(await request.read())
        ids = encode_chat(read_messages(body)) if "messages" in body else read_prompt(body)[0]
        return _json({"count": len(ids), "max_model_len": self._profile.max_model_len, "tokens": ids})

    async def _models(self, _: web.Request) -> web.Response:
        model = {
            "id": self._model,
            "object": "model",
            "created": int(self._created),
            "owned_by": "vllm",
            "root": self._model,
            "parent": None,
            "max_model_len": self._profile.max_model_len,
        }
        return _json({"object": "list", "data": [model]})

    async def _version(self, _: web.Request) -> web.Response:
        return _json({"version": VERSION, "simulated": self._profile.name})

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, _: web.Request) -> web.Response:
        if self._options.metrics == "off":
            raise web.HTTPNotFound
        if self._options.metrics == "slow":
            await asyncio.sleep(SLOW_METRICS_S)
        kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self._pacer.metrics.render().encode(), headers=kind)


async def _from_cache(request: web.Request, body: bytes, stream: bool) -> web.StreamResponse:
    if not stream:
        return web.Response(body=body, content_type="application/json")
    response = web.StreamResponse(headers=SSE)
    await response.prepare(request)
    await response.write(body)
    await response.write_eof()
    return response


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError as error:
        at = getattr(error, "pos", 0)
        why = (
            f"{{'type': 'json_invalid', 'loc': 'body.{at}', 'msg': 'JSON decode error', 'input': '<dict of 0 items>'}}"
        )
        raise AskError(f"1 validation error:\n  {why}", f"body.{at}", 400, "Bad Request") from error
    if not isinstance(body, dict):
        raise AskError("1 validation error:\n  {'type': 'dict_type', 'loc': 'body'}", "body", 400, "Bad Request")
    return body


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=compact(value), status=status, content_type="application/json")


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        print(f"simulator: {type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - there is no one else to tell
        os._exit(1)
