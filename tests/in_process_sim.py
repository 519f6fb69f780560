"""A simulated server in a thread of the test's process: cheaper than a process of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from probe_ext.sim.api.app import Server
from probe_ext.sim.personality import parse_personality
from probe_ext.sim.profile import load_profile
from probe_ext.sim.serving.backend import ServerOptions


@dataclass
class RunningSim:
    """A server that runs until the end of its test."""

    url: str = ""
    server: Server | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    loop: asyncio.AbstractEventLoop | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


@contextmanager
def running_sim(personality: str = "vllm", *, profile: str = "demo", **options: Any) -> Iterator[RunningSim]:
    """Run a simulated server; `options` are those of `ServerOptions`."""
    sim = RunningSim()
    profile_ = options.pop("loaded_profile", None) or load_profile(profile)
    given = ServerOptions(profile=profile_, personality=parse_personality(personality), **options)
    thread = threading.Thread(target=lambda: asyncio.run(_serve(sim, given)), daemon=True)
    thread.start()
    assert sim.ready.wait(120)
    try:
        yield sim
    finally:
        assert sim.loop is not None
        sim.loop.call_soon_threadsafe(sim.over.set)
        thread.join(120)


async def _serve(sim: RunningSim, options: ServerOptions) -> None:
    sim.loop = asyncio.get_running_loop()
    sim.server = Server(options)
    runner = web.AppRunner(sim.server.application(), handler_cancellation=True, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sim.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    sim.ready.set()
    await sim.over.wait()
    sim.server.stop()
    await runner.cleanup()
