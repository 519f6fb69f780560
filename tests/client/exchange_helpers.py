"""Run exchanges with a scripted server, and compare their times with the server's own record."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import gevent
from recorded_replies import KEY
from scripted_server import Peer, ScriptedServer

from probe_ext.client.api import openai_api
from probe_ext.client.api.request_form import RequestForm, request_body
from probe_ext.client.exchange import Exchange, Limits
from probe_ext.client.reply import Reply
from probe_ext.client.wire.address import Target, parse_target
from probe_ext.client.wire.connection import Connection
from probe_ext.measure import clock

SHORT = Limits(connect=5.0, first=5.0, gap=5.0, total=10.0)
TEST_TIMEOUT_S = 30.0
REPETITIONS = 2
CLOCK_TOLERANCE_S = 100e-6
"""accepted distance between clock readings of client and server"""


def target_of(server: ScriptedServer) -> Target:
    return parse_target(f"http://127.0.0.1:{server.port}")


def request(target: Target, prompt: str = "hello", *, stream: bool = True) -> bytes:
    content = request_body(openai_api.CHAT_PATH, prompt, "m", stream=stream, form=RequestForm(), extra={})
    head = f"POST {target.path(openai_api.CHAT_PATH)} HTTP/1.1\r\nHost: {target.authority}\r\n"
    head += f"Authorization: Bearer {KEY}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def new_exchange(
    connection: Connection, target: Target, limits: Limits = SHORT, *, prompt: str = "hello", streamed: bool = True
) -> Exchange:
    wire = request(target, prompt, stream=streamed)
    return Exchange(connection, wire, limits, due=clock.monotonic(), streamed=streamed, secret=KEY)


def run_exchange(running: Exchange) -> Reply:
    """Run an exchange to its end, with a timeout for the test."""
    with gevent.Timeout(TEST_TIMEOUT_S):
        running.run()
    return running.finish()


def ask(
    server: ScriptedServer, limits: Limits = SHORT, *, connection: Connection | None = None, streamed: bool = True
) -> Reply:
    """Send a request and return the reply; on a new connection unless one is given."""
    target = target_of(server)
    own = connection or Connection(target, None)
    try:
        return run_exchange(new_exchange(own, target, limits, streamed=streamed))
    finally:
        if connection is None:
            own.close()


class LateError(AssertionError):
    """Tokens were late: through the measurement, or because the machine is busy."""


def not_always_late(test: Callable[..., None]) -> Callable[..., None]:
    """Repeat a test whose tokens were late: it must pass twice then.

    A busy machine delays the median of a reply's tokens once in a hundred replies at most, a measurement error always
    or often.
    """

    @wraps(test)
    def attempts(*arguments: Any, **named: Any) -> None:
        try:
            test(*arguments, **named)
        except LateError:
            for _ in range(REPETITIONS):
                test(*arguments, **named)

    return attempts


def check_times(at: list[float], tokens: list[int], peer: Peer, slack: float) -> None:
    """Check that no token arrives before it was sent, and that the median delay is at most `slack`, or LateError.

    The median, not the maximum: a busy machine delays some tokens, a measurement error all of them.
    """
    truth = peer.token_parts
    assert len(truth) >= 2, "the server sent too few tokens to compare"
    assert tokens == [part.tokens for part in truth]
    early = [part.before - t for t, part in zip(at, truth, strict=True) if t < part.before - CLOCK_TOLERANCE_S]
    assert not early, f"{len(early)} tokens arrived before they were sent, by up to {max(early)} s"
    late = sorted(t - part.after for t, part in zip(at, truth, strict=True))
    if late[len(late) // 2] > slack:
        raise LateError(f"median delay of {late[len(late) // 2]} s")
