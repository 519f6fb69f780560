"""A request's body on its way to the server.

A short one of known length is read first, so that the request can be sent again on a new connection and looked up in
the response cache. All others are passed on as they come.
"""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from probe_ext.measure import clock
from probe_ext.tap.traffic.observed_request import MAX_ANALYSED_BYTES

MAX_READ_FIRST_BYTES = 8 * 2**20


class SlowClientError(Exception):
    """The client stopped sending its request."""


class RequestBody:
    """The body of one request."""

    def __init__(self, request: web.BaseRequest, patience: float) -> None:
        """`patience`: seconds to wait for each piece."""
        self._content, self._patience = request.content, patience
        length = request.content_length
        self.present = request.body_exists
        self.is_chunked = self.present and length is None
        self.is_read_first = length is not None and length <= MAX_READ_FIRST_BYTES
        """whether `data` returns all of it"""
        self._kept: list[bytes] | None = []
        self._whole: bytes | None = None
        self.size = 0
        self.waited = 0.0
        """seconds in which the client was not ready"""

    @property
    def copy(self) -> bytes | None:
        """What has passed so far; None if it was too long to be kept."""
        if self._whole is not None or self._kept is None:
            return self._whole
        return self._kept[0] if len(self._kept) == 1 else b"".join(self._kept)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here, so that it can be sent again."""
        return self._whole is not None or not self.present

    async def data(self) -> bytes | AsyncIterator[bytes] | None:
        """Return what to send. SlowClientError, or aiohttp's errors, if the body cannot be read."""
        if not self.present:
            return None
        if not self.is_read_first:
            return self._pieces()
        if self._whole is None:
            if self._content.is_eof():  # all of it came with the head
                self._keep(self._content.read_nowait())
            else:
                async for _ in self._pieces():
                    pass
            self._whole, self._kept = self.copy, None
        return self._whole

    async def _pieces(self) -> AsyncIterator[bytes]:
        while not self._content.at_eof():
            before = clock.monotonic()
            try:
                async with asyncio.timeout(self._patience):
                    piece = await self._content.readany()
            except TimeoutError:
                raise SlowClientError from None
            finally:
                self.waited += clock.monotonic() - before
            if piece:
                self._keep(piece)
                yield piece

    def _keep(self, piece: bytes) -> None:
        self.size += len(piece)
        if self._kept is not None:
            self._kept.append(piece)
            if self.size > MAX_ANALYSED_BYTES:
                self._kept = None
