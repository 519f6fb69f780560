"""A server that needs very little CPU: every reply is a few tokens at a fixed rate, for any number of connections.

It replaces the server under test when only the load generator is being measured. Prints `listening on URL`.
"""

import argparse
import asyncio
import resource

import orjson
from aiohttp import web

MODEL = "quick-0"
_METRICS = 'vllm:num_requests_running{engine="0",model_name="quick-0"} %d.0\n'


class QuickServer:
    """Handlers that count the replies, to be compared with the load generator's count."""

    def __init__(self, tokens: int, pace: float) -> None:
        self.tokens, self.pace = tokens, pace
        self.started = self.running = 0

    async def models(self, _: web.Request) -> web.Response:
        """List one model."""
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def metrics(self, _: web.Request) -> web.Response:
        """Return vLLM's metric for the number of running requests."""
        return web.Response(text=_METRICS % self.running)

    async def served(self, _: web.Request) -> web.Response:
        """Return the number of streamed replies started so far."""
        return web.json_response({"started": self.started})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Stream the tokens, one every `pace` seconds, then the usage."""
        body = orjson.loads(await request.read())
        usage = {"prompt_tokens": 16, "completion_tokens": self.tokens, "total_tokens": 16 + self.tokens}
        if not body.get("stream"):
            choice = {"message": {"role": "assistant", "content": "a"}, "index": 0, "finish_reason": "stop"}
            return web.json_response({"choices": [choice], "usage": usage})
        self.started += 1
        self.running += 1
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            for n in range(self.tokens):
                await asyncio.sleep(self.pace)
                last = "length" if n + 1 == self.tokens else None
                await response.write(_event([{"index": 0, "delta": {"content": " a"}, "finish_reason": last}]))
            await response.write(_event([], usage))
            await response.write(b"data: [DONE]\n\n")
        except ConnectionError:
            pass  # the client disconnected
        finally:
            self.running -= 1
        return response


def _event(choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> bytes:
    event = {"id": "q", "object": "chat.completion.chunk", "model": MODEL, "choices": choices, "usage": usage}
    return b"data: " + orjson.dumps(event) + b"\n\n"


async def _serve(args: argparse.Namespace) -> None:
    quick = QuickServer(args.tokens, args.pace)
    app = web.Application()
    app.add_routes(
        [
            web.get("/v1/models", quick.models),
            web.get("/metrics", quick.metrics),
            web.get("/served", quick.served),
            web.post("/v1/chat/completions", quick.chat),
        ]
    )
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=3600)
    await runner.setup()
    site = web.TCPSite(runner, args.bind, args.port, backlog=4096)
    await site.start()
    port = runner.addresses[0][1]
    print(f"listening on http://{args.bind}:{port}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=8, help="tokens per reply [8]")
    parser.add_argument("--pace", type=float, default=0.02, help="seconds between tokens [0.02]")
    args = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_serve(args))


if __name__ == "__main__":
    main()
