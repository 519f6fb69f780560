"""The HTTP application: vLLM's routes on top of the simulated engine."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from aiohttp import web

from probe_ext.sim.api.completions import Completions
from probe_ext.sim.api.json_bodies import json_response, parse_object
from probe_ext.sim.metrics.altered_pages import ALTERED
from probe_ext.sim.metrics.dcgm_metrics import render_gpu
from probe_ext.sim.protocol.messages_bytes import error_body as messages_error
from probe_ext.sim.protocol.request_body import ApiError, parse_messages, parse_prompt
from probe_ext.sim.serving.backend import Backend, ServerOptions
from probe_ext.sim.tokenizer import encode_chat

MESSAGES_PATH = "/v1/messages"
APIS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/responses": "responses",
    MESSAGES_PATH: "messages",
}
VLLM_VERSION = "0.32.0"
SLOW_METRICS_S = 3.0
MAX_BODY_BYTES = 64 * 2**20
METRICS_PATHS = ("/metrics", "/gpu/metrics")
METRICS_HEADERS = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Routes, authentication, and every endpoint except the completions."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._backend = Backend(options)
        self._completions = Completions(self._backend)
        self._metrics_reads = 0
        self._frozen_page = ""

    def application(self) -> web.Application:
        """Build the aiohttp application; its engine runs for the application's lifetime."""
        app = web.Application(middlewares=[self._count], client_max_size=MAX_BODY_BYTES)
        for path, api in APIS.items():
            app.router.add_post(path, self._handler(api))
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/version", self._version)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/gpu/metrics", self._gpu_metrics)
        app.cleanup_ctx.append(self._backend.lifetime)
        app.on_response_prepare.append(self._alter_head)
        return app

    async def _alter_head(self, _: web.Request, response: web.StreamResponse) -> None:
        personality = self._options.personality
        if personality.clock_ahead_s:
            ahead = self._backend.unix_time(self._backend.clock()) + personality.clock_ahead_s
            response.headers["Date"] = formatdate(ahead, usegmt=True)
        if not personality.keep_alive:
            response.force_close()
            response.headers["Connection"] = "close"

    def stop(self) -> None:
        """End all open streams, before the application shuts down."""
        self._backend.stop()

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await self._guarded(request, handler)
        resource = request.match_info.route.resource
        if resource is not None and request.path not in METRICS_PATHS:
            self._backend.pacer.metrics.count_response(request.method, resource.canonical, response.status)
        return response

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._backend.restarting:
            return web.Response(status=503)
        if not self._authorized(request):
            return json_response({"error": "Unauthorized"}, 401)
        try:
            return await handler(request)
        except ApiError as error:
            is_messages = request.path == MESSAGES_PATH
            return json_response(messages_error(error.body) if is_messages else error.body, error.status)
        except web.HTTPError as error:
            return json_response({"detail": error.reason}, error.status)

    def _authorized(self, request: web.Request) -> bool:
        key = self._options.api_key
        if key is None or not request.path.startswith("/v1"):
            return True  # vLLM requires the key under /v1 only
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {key}".encode())

    def _handler(self, api: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._completions.handle(request, api)

        return handle

    async def _tokenize(self, request: web.Request) -> web.StreamResponse:
        body = parse_object(await request.read())
        add_prompt = bool(body.get("add_generation_prompt", True))
        ids = encode_chat(parse_messages(body), add_prompt) if "messages" in body else parse_prompt(body)
        return json_response({"count": len(ids), "max_model_len": self._backend.profile.max_model_len, "tokens": ids})

    async def _models(self, _: web.Request) -> web.StreamResponse:
        model = {
            "id": self._backend.model,
            "object": "model",
            "created": int(self._backend.created),
            "owned_by": "vllm",
            "root": self._backend.model,
            "parent": None,
            "max_model_len": self._backend.profile.max_model_len,
        }
        return json_response({"object": "list", "data": [model]})

    async def _version(self, _: web.Request) -> web.StreamResponse:
        return json_response({"version": VLLM_VERSION, "simulated": self._backend.profile.name})

    async def _health(self, _: web.Request) -> web.StreamResponse:
        return web.Response()

    async def _gpu_metrics(self, _: web.Request) -> web.StreamResponse:
        pacer = self._backend.pacer
        text = render_gpu(pacer.engine.gpu, self._backend.profile, pacer.engine_time())
        return web.Response(body=text.encode(), headers=METRICS_HEADERS)

    async def _metrics(self, _: web.Request) -> web.StreamResponse:
        if self._options.metrics == "off":
            raise web.HTTPNotFound
        if self._options.metrics == "slow":
            await asyncio.sleep(SLOW_METRICS_S)
        self._metrics_reads += 1
        twin = self._options.personality.replicas and self._metrics_reads % 2 == 0
        page = (self._backend.idle_twin() if twin else self._backend.pacer.metrics).render()
        if self._options.metrics == "frozen":
            page = self._frozen_page = self._frozen_page or page
        text = ALTERED[self._options.metrics](page) if self._options.metrics in ALTERED else page
        return web.Response(body=text.encode(), headers=METRICS_HEADERS)
