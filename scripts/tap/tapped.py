"""A tap in the process of a script, before a server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from probe_ext.client.wire.address import parse_target
from probe_ext.measure import clock
from probe_ext.recording.recorded_request import SCHEMA, RecordingHead
from probe_ext.tap.proxy.listener import Listener, listening_socket
from probe_ext.tap.proxy.passing import Passing
from probe_ext.tap.proxy.response_cache import ResponseCache
from probe_ext.tap.proxy.upstream import Upstream
from probe_ext.tap.traffic_recorder import Recorder

SILENCE_S = 600.0


@asynccontextmanager
async def tapped(url: str, folder: Path, cache: ResponseCache | None = None) -> AsyncIterator[tuple[str, Recorder]]:
    """Run a tap; yields its URL and recorder."""
    head = RecordingHead(schema=SCHEMA, upstream=url, started_at=clock.utc_text(clock.wall()), cache=cache is not None)
    recorder = Recorder(folder, head)
    upstream = Upstream(parse_target(url), None, connect=10.0, silence=SILENCE_S)
    listener = Listener(Passing(upstream, recorder, SILENCE_S, cache), recorder)
    listening = listening_socket("127.0.0.1", 0)
    await listener.start(listening, None)
    recorder.set_limit(await upstream.max_model_len())
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", recorder
    finally:
        await listener.close()
        await upstream.close()
        recorder.close()
