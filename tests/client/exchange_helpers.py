"""Ask a scripted server with the real client, and hold its times against the server's own record."""

import gevent
from exchanges import KEY
from scripted_server import Peer, ScriptedServer

from probe_ext.client import openai_api
from probe_ext.client.address import Target, parse_target
from probe_ext.client.connection import Connection
from probe_ext.client.converse import Conversation, Limits
from probe_ext.client.reply import Reply
from probe_ext.measure import clock

SHORT = Limits(connect=5.0, first=5.0, gap=5.0, total=10.0)
HANG = 30.0
"""seconds: a test that waits longer hangs"""
CLOCKS = 100e-6
"""seconds by which two clocks of one machine may be read apart: the ruler's own bound is 20 µs"""


def target_of(server: ScriptedServer) -> Target:
    return parse_target(f"http://127.0.0.1:{server.port}")


def request(target: Target, prompt: str = "hello", *, stream: bool = True) -> bytes:
    content = openai_api.body([{"role": "user", "content": prompt}], "m", stream=stream, usage="continuous", extra={})
    head = f"POST {target.path(openai_api.CHAT_PATH)} HTTP/1.1\r\nHost: {target.authority}\r\n"
    head += f"Authorization: Bearer {KEY}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def conversation(
    connection: Connection, target: Target, limits: Limits = SHORT, *, prompt: str = "hello", streamed: bool = True
) -> Conversation:
    wire = request(target, prompt, stream=streamed)
    return Conversation(connection, wire, limits, due=clock.monotonic(), streamed=streamed, secret=KEY)


def hold(asked: Conversation) -> Reply:
    """Run a conversation to its end; one that hangs fails the test."""
    with gevent.Timeout(HANG):
        asked.run()
    return asked.finish()


def ask(
    server: ScriptedServer, limits: Limits = SHORT, *, connection: Connection | None = None, streamed: bool = True
) -> Reply:
    """One question and its reply; on a connection of its own unless one is given."""
    target = target_of(server)
    used = connection or Connection(target, None)
    try:
        return hold(conversation(used, target, limits, streamed=streamed))
    finally:
        if connection is None:
            used.close()


def check_times(at: list[float], tokens: list[int], peer: Peer, slack: float) -> None:
    """Token times are the server's: never before it sent, and in the middle no later than `slack` after.

    The middle, not the latest: a busy machine delays some of them, a wrong ruler all.
    """
    truth = peer.token_parts
    assert len(truth) >= 2, "the server sent too little to hold anything against"
    assert tokens == [part.tokens for part in truth]
    early = [part.before - t for t, part in zip(at, truth, strict=True) if t < part.before - CLOCKS]
    assert not early, f"{len(early)} tokens were there before they were sent, by up to {max(early)} s"
    late = sorted(t - part.after for t, part in zip(at, truth, strict=True))
    assert late[len(late) // 2] <= slack, f"in the middle tokens came {late[len(late) // 2]} s after they were sent"
