"""One connection to the server. It carries one request after another."""

import asyncio
from collections.abc import AsyncIterator

from probe_ext.tap.proxy.upstream_answer import Answer, CutError

Body = bytes | AsyncIterator[bytes] | None
_MAX_JOINED_BYTES = 64 * 2**10
"""of a body that goes out in one piece with its head"""


class UpstreamConnection(asyncio.Protocol):
    """Sends a request and takes its answer. Bytes that nobody has asked for end the connection."""

    def __init__(self) -> None:
        self.closed = False
        self.idle_since = 0.0
        self._answer: Answer | None = None
        self._sending: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    async def ask(self, head: bytes, body: Body, silence: float, *, chunked: bool, bodyless: bool) -> Answer:
        """Send a request, and return its answer when its head is here. The answer's errors, and those of the body.

        `chunked`: whether a body that comes in pieces is sent in chunks, as its length is not known.
        """
        if self.closed:
            raise CutError(unanswered=True)
        answer = self._answer = Answer(self._transport, silence, bodyless=bodyless)
        if isinstance(body, bytes) and len(body) <= _MAX_JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            if isinstance(body, bytes):
                self._transport.write(body)
            elif body is not None:
                self._sending = asyncio.create_task(self._send(body, answer, chunked=chunked))
        await answer.head()
        return answer

    async def _send(self, body: AsyncIterator[bytes], answer: Answer, *, chunked: bool) -> None:
        try:
            answer.expected = False
            async for piece in body:
                answer.expect()
                await self._may_write.wait()
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                answer.expected = False
            if chunked:
                self._transport.write(b"0\r\n\r\n")
            answer.expect()
        except Exception as error:  # of the client: for whoever waits for the answer
            answer.fail(error)

    def finish(self) -> bool:
        """End the exchange; return whether the connection can carry another one. Otherwise it is closed."""
        answer, sending = self._answer, self._sending
        self._answer = self._sending = None
        sent = sending is None or sending.done()
        if sending is not None and not sent:
            sending.cancel()
        if answer is not None:
            answer.stop()
        if self.closed:
            return False
        if answer is not None and answer.complete and answer.keep_alive and sent:
            return True
        if answer is not None and answer.complete:
            self._transport.close()
        else:
            self._transport.abort()  # what is still unsent is of no use
        self.closed = True
        return False

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        self._transport.close()

    # --- called by the event loop ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self._answer is None:
            self.close()
        else:
            self._answer.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end."""
        self.closed = True
        self._may_write.set()
        if self._answer is not None:
            self._answer.end(reset=exc is not None)

    def pause_writing(self) -> None:
        """Hold the body back: the server takes no more."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Go on with the body."""
        self._may_write.set()
